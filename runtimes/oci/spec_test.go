package oci

import (
	"testing"

	"lagan/internal/jsonscan/scantest"
)

const ordinarySpec = `{"ociVersion":"1.2.0","process":{"terminal":false,"user":{"uid":0,"gid":0,"additionalGids":[0,10]},"args":["nginx","-g","daemon off;"],
"env":["PATH=/usr/bin","A=\"b\""],"cwd":"/","capabilities":{"bounding":["CAP_CHOWN","CAP_SYS_ADMIN"],"effective":["CAP_CHOWN"]},"oomScoreAdj":-997},
"root":{"path":"rootfs"},"hostname":"web","mounts":[{"destination":"/proc","type":"proc","source":"proc","options":["nosuid","noexec"]},
{"destination":"/data","type":"bind","source":"/srv/data","options":["rbind","ro"]}],"annotations":{"io.kubernetes.cri.container-type":"container"},
"linux":{"resources":{"devices":[{"allow":false,"access":"rwm"}],"cpu":{"shares":1024}},"cgroupsPath":"/k8s","namespaces":[{"type":"pid"},{"type":"network","path":"/proc/1/ns/net"}],
"seccomp":{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["accept","bind"],"action":"SCMP_ACT_ALLOW"}]},"maskedPaths":["/proc/kcore"]}}`

// An ordinary specification is read in one pass; what isn't ordinary is left to encoding/json.
func TestSpecScan(t *testing.T) {
	if !scantest.Same[spec](t, []byte(ordinarySpec)) {
		t.Error("an ordinary specification was not read in one pass")
	}
	for _, odd := range []string{`{"windows":{}}`, `{"VM":null}`, `{"Linux":{}}`, `{"mounts":{}}`, `{"process":{"args":"x"}}`} {
		if scantest.Same[spec](t, []byte(odd)) {
			t.Errorf("%s was read in one pass", odd)
		}
	}
}

func FuzzSpecScan(f *testing.F) {
	scantest.Seeds(f, ordinarySpec)
	f.Fuzz(func(t *testing.T, raw []byte) { scantest.Same[spec](t, raw) })
}
