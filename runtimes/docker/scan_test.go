package docker

import (
	"testing"

	"lagan/internal/jsonscan/scantest"
)

const (
	ordinaryConfig = `{"StreamConfig":{},"State":{"Running":true,"Paused":false,"Restarting":false,"OOMKilled":false,"RemovalInProgress":false,"Dead":false,"Pid":4711,"ExitCode":0,"Error":"",
"StartedAt":"2026-01-02T03:04:05.6Z","FinishedAt":"0001-01-01T00:00:00Z","Health":null},"ID":"ab12","Created":"2026-01-02T03:04:04Z","Managed":false,"Path":"/entry","Args":["-v"],
"Config":{"Hostname":"ab12","ExposedPorts":{"80/tcp":{}},"Env":["PATH=/usr/bin"],"Cmd":null,"Image":"nginx:1.27","Volumes":null,"Labels":{"a":"b"}},"Image":"sha256:ef",
"ImageManifest":{"mediaType":"x","digest":"sha256:01","size":7},"NetworkSettings":{"Bridge":"","Networks":{"bridge":{"IPAMConfig":null,"IPAddress":"172.17.0.2","IPPrefixLen":16,"GlobalIPv6Address":""},"gone":null},
"Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}],"81/tcp":null}},"LogPath":"/x.log","Name":"/web","Driver":"overlay2","RestartCount":2,"HasBeenManuallyStopped":false,
"MountPoints":{"/data":{"Source":"/srv","Destination":"/data","RW":true,"Name":"","Driver":"","Type":"bind","Propagation":"rprivate","Spec":{"Type":"bind"}},"/gone":null}}`
	oldConfig      = `{"ID":"ab","Volumes":{"/data":"/srv"},"VolumesRW":{"/data":false},"NetworkSettings":{"IPAddress":"172.17.0.2"}}`
	ordinaryHost   = `{"Binds":null,"LogConfig":{"Type":"json-file","Config":{}},"NetworkMode":"default","PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080"}]},"Privileged":true,"Tmpfs":{"/run":"size=1m"},"CpuShares":0}`
	anotherPrivate = `{"privileged":true}`
)

// Ordinary documents are read in one pass; what isn't ordinary is left to encoding/json.
func TestScan(t *testing.T) {
	if !scantest.Same[configV2](t, []byte(ordinaryConfig)) || !scantest.Same[configV2](t, []byte(oldConfig)) || !scantest.Same[hostConfigJSON](t, []byte(ordinaryHost)) {
		t.Error("an ordinary document was not read in one pass")
	}
	if scantest.Same[hostConfigJSON](t, []byte(anotherPrivate)) {
		t.Error("a name in another case was passed over")
	}
}

func FuzzScan(f *testing.F) {
	scantest.Seeds(f, ordinaryConfig, oldConfig, ordinaryHost, anotherPrivate)
	f.Fuzz(func(t *testing.T, raw []byte) {
		scantest.Same[configV2](t, raw)
		scantest.Same[hostConfigJSON](t, raw)
	})
}
