package daemon

import (
	"strings"
	"testing"
)

const (
	cid = "a8666bc29f51f6e4eca620bf20470be30d62844cffd76d9e7801843563cc3b8d"
	sid = "4368b42d7e82fafd9557825a383173be68f4a7be9adb4f1efc67b1bd574e1810"
	uid = "3f1c6a52-8b1e-4c0e-9d5f-0a6b7c8d9e01"
)

func TestUnderstand(t *testing.T) {
	for _, test := range []struct {
		text string
		want Event
	}{
		{`level=info msg="PullImage \"docker.io/library/nginx:1\""`, Event{Action: Pulling, Image: "docker.io/library/nginx:1"}},
		{`time="2026-11-22T09:24:40.1Z" level=info msg="PullImage \"docker.io/library/nginx:1\" returns image reference \"sha256:aa\""`, Event{Action: Pull, Image: "docker.io/library/nginx:1"}},
		{`level=error msg="PullImage \"x\" failed" error="not found"`, Event{}},
		{`level=info msg="RunPodSandbox for &PodSandboxMetadata{Name:web-0,Uid:` + uid + `,Namespace:default,Attempt:0,}"`, Event{}},
		{`level=info msg="RunPodSandbox for &PodSandboxMetadata{Name:web-0,Uid:` + uid + `,Namespace:default,Attempt:0,} returns sandbox id \"` + sid + `\""`,
			Event{Action: PodCreate, SandboxID: sid, Pod: "web-0", PodUID: uid, Namespace: "default"}},
		{`level=info msg="CreateContainer within sandbox \"` + sid + `\" for &ContainerMetadata{Name:nginx,Attempt:0,} returns container id \"` + cid + `\""`,
			Event{Action: Create, SandboxID: sid, ContainerID: cid, ContainerName: "nginx"}},
		{`level=info msg="StartContainer for \"` + cid + `\""`, Event{}},
		{`level=info msg="StartContainer for \"` + cid + `\" returns successfully"`, Event{Action: Start, ContainerID: cid}},
		{`level=info msg="Exec for \"` + cid + `\" with command [sh -c id; ls [x]], tty true and stdin true"`, Event{Action: Exec, ContainerID: cid, Command: "sh -c id; ls [x]"}},
		{`level=info msg="Exec for \"` + cid + `\" returns URL \"http://[::]:1/exec/x\""`, Event{}},
		{`level=debug msg="ExecSync for \"` + cid + `\" with command [cat /x] and timeout 1 (s)"`, Event{Action: Exec, ContainerID: cid, Command: "cat /x"}},
		{`level=info msg="StopContainer for \"` + cid + `\" with timeout 30 (s)"`, Event{Action: Stop, ContainerID: cid}},
		{`level=info msg="RemovePodSandbox \"` + sid + `\" returns successfully"`, Event{Action: PodRemove, SandboxID: sid}},
		{`level=info msg="TaskOOM event container_id:\"` + cid + `\""`, Event{Action: OOM, ContainerID: cid}},
		{`level=info msg="TaskOOM event &TaskOOM{ContainerID:` + cid + `,XXX_unrecognized:[],}"`, Event{Action: OOM, ContainerID: cid}},
		{`level=info msg="TaskExit event in podsandbox handler container_id:\"` + cid + `\" id:\"` + cid + `\" pid:31 exit_status:137 exited_at:{seconds:1}"`, Event{Action: Exit, ContainerID: cid, ExitCode: "137"}},
		{`level=info msg="TaskExit event container_id:\"` + cid + `\" id:\"` + sid + `\" pid:31 exited_at:{seconds:1}"`, Event{}},
		{`level=info msg="ImageDelete event name:\"docker.io/library/tomcat:8.5.19\""`, Event{Action: RemoveImage, Image: "docker.io/library/tomcat:8.5.19"}},
		{`level=info msg="ignoring event" container=` + cid + ` module=libcontainerd namespace=moby topic=/tasks/delete type="*events.TaskDelete"`, Event{Action: Exit, ContainerID: cid}},
		{`level=info msg="image pulled" digest="sha256:aa" remote="docker.io/library/nginx:latest"`, Event{Action: Pull, Image: "docker.io/library/nginx:latest"}},
		{`level=info msg="Container ` + cid + ` failed to exit within 10s of signal 15 - using the force"`, Event{Action: Stop, ContainerID: cid}},
		{`level=info msg="Container failed to exit within 10s of signal 15 - using the force" container=` + cid, Event{}},
		{`1234 kubelet.go:2447] "SyncLoop (PLEG): event for pod" pod="default/web-0" event={"ID":"` + uid + `","Type":"ContainerDied","Data":"` + cid + `"}`,
			Event{Action: Exit, Namespace: "default", Pod: "web-0", PodUID: uid, ContainerID: cid}},
		{`I1122 15:04:05.123456    1234 kubelet.go:2447] "SyncLoop (PLEG): event for pod" pod="default/web-0" event=&{ID:` + uid + ` Type:ContainerStarted Data:` + cid + `}`,
			Event{Action: Start, Namespace: "default", Pod: "web-0", PodUID: uid, ContainerID: cid}},
		{`1 kubelet.go:1] "SyncLoop ADD" source="api" pods=["default/web-0"]`, Event{Action: PodCreate, Namespace: "default", Pod: "web-0"}},
		{`1 kuberuntime_container.go:808] "Killing container with a grace period" pod="default/web-0" podUID="` + uid + `" containerName="nginx" containerID="containerd://` + cid + `" gracePeriod=30`,
			Event{Action: Stop, Namespace: "default", Pod: "web-0", PodUID: uid, ContainerName: "nginx", ContainerID: cid}},
		{`1 httplog.go:134] "HTTP" verb="POST" URI="/exec/default/web-0/nginx?command=sh&command=-c&command=id&input=1" latency="1s" userAgent="Go" audit-ID="" srcIP="10.0.0.7:40112" resp=101`,
			Event{Action: Exec, Namespace: "default", Pod: "web-0", ContainerName: "nginx", Command: "sh -c id", IP: "10.0.0.7"}},
		{`1 httplog.go:134] "HTTP" verb="GET" URI="/metrics" srcIP="10.0.0.7:40112" resp=200`, Event{}},
		{`[  100.5] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=cri-containerd-` + cid + `.scope,mems_allowed=0,oom_memcg=/kubepods.slice/x,task_memcg=/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod3f1c6a52_8b1e_4c0e_9d5f_0a6b7c8d9e01.slice/cri-containerd-` + cid + `.scope,task=stress,pid=4242,uid=0`,
			Event{Action: OOM, ContainerID: cid, PodUID: uid, Process: "stress", PID: "4242"}},
		{`oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=` + cid + `,mems_allowed=0,oom_memcg=/docker/` + cid + `,task_memcg=/docker/` + cid + `,task=java,pid=7,uid=0`,
			Event{Action: OOM, ContainerID: cid, Process: "java", PID: "7"}},
		{`Memory cgroup out of memory: Killed process 4242 (stress) total-vm:1kB`, Event{Action: OOM, PID: "4242", Process: "stress"}},
		{`Accepted publickey for ec2-user from 10.0.0.1`, Event{}},
		{``, Event{}},
	} {
		got, ok := Understand(test.text)
		if !ok {
			got = Event{}
		}
		if got != test.want {
			t.Errorf("%s:\n%+v, not\n%+v", test.text, got, test.want)
		}
	}
}

func FuzzUnderstand(f *testing.F) {
	f.Add(`level=info msg="Exec for \"` + cid + `\" with command [sh], tty true"`)
	f.Add(`1 kubelet.go:1] "SyncLoop ADD" source="api" pods=["default/web-0"]`)
	f.Add(`oom-kill:task_memcg=/docker/` + cid + `,task=java,pid=7`)
	f.Fuzz(func(t *testing.T, s string) {
		if e, ok := Understand(s); ok && e.Action == "" {
			t.Error(e)
		}
	})
}

func BenchmarkUnderstand(b *testing.B) {
	line := strings.Repeat("pam_unix(sshd:session): session opened for user root ", 3)
	b.ReportAllocs()
	for b.Loop() {
		Understand(line)
	}
}
