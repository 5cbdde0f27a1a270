package containerd

import (
	"testing"

	"lagan/internal/jsonscan/scantest"
)

const (
	ordinaryStatus    = `{"Version":"v1","Pid":2211,"CreatedAt":1700000000000000000,"StartedAt":1700000001000000000,"FinishedAt":0,"ExitCode":0,"Reason":"","Message":"","Restarting":false,"Resources":null}`
	ordinaryContainer = `{"Version":"v1","Metadata":{"ID":"ab12","Name":"web_web-0_default_uid_3","SandboxID":"cd34","Config":{"metadata":{"name":"web","attempt":3},
"image":{"image":"sha256:ef"},"command":["nginx"],"envs":[{"key":"A","value":"b"}],"labels":{"io.kubernetes.container.name":"web"},
"annotations":{"io.kubernetes.container.restartCount":"3"},"log_path":"web/3.log","linux":{"resources":{"cpu_shares":102},"security_context":{"privileged":true,"namespace_options":{"pid":1}}}},
"ImageRef":"sha256:ef","LogPath":"/var/log/pods/web/3.log","StopSignal":"SIGQUIT","ProcessLabel":""}}`
	ordinarySandbox = `{"Version":"v1","Metadata":{"ID":"cd34","Name":"web-0_default_uid_0","Config":{"metadata":{"name":"web-0","uid":"uid","namespace":"default"},"hostname":"web-0",
"log_directory":"/var/log/pods/web","port_mappings":[{"protocol":1,"container_port":53,"host_port":5353,"host_ip":"127.0.0.1"}],"labels":{"app":"web"},"annotations":{},
"linux":{"cgroup_parent":"/kubepods","security_context":{}}},"NetNSPath":"/run/netns/x","IP":"10.0.0.7","AdditionalIPs":["fd00::7"],"RuntimeHandler":"","CNIResult":{"Interfaces":{"eth0":{"IPConfigs":null}}}}}`
)

// The CRI plugin's ordinary documents are read in one pass.
func TestCRIScan(t *testing.T) {
	if !scantest.Same[status](t, []byte(ordinaryStatus)) || !scantest.Same[containerMetadata](t, []byte(ordinaryContainer)) ||
		!scantest.Same[sandboxMetadata](t, []byte(ordinarySandbox)) {
		t.Error("an ordinary document was not read in one pass")
	}
}

func FuzzCRIScan(f *testing.F) {
	scantest.Seeds(f, ordinaryStatus, ordinaryContainer, ordinarySandbox)
	f.Fuzz(func(t *testing.T, raw []byte) {
		scantest.Same[status](t, raw)
		scantest.Same[containerMetadata](t, raw)
		scantest.Same[sandboxMetadata](t, raw)
	})
}
