package analyzer

import (
	"strings"
	"testing"

	"lagan/runtimes"
	"lagan/timeline"
)

// TestMentions: which lines name a container, and what they tell of it. The lines
// have the forms that the programs' sources give them.
func TestMentions(t *testing.T) {
	id, sandbox := strings.Repeat("0a", 32), strings.Repeat("1b", 32)
	attempt := func(n int) *int { return &n }
	for _, c := range []struct {
		line string
		want runtimes.Remnant
		gone bool
	}{
		{`msg="CreateContainer within sandbox \"` + sandbox + `\" for &ContainerMetadata{Name:app,Attempt:2,} returns container id \"` + id + `\""`,
			runtimes.Remnant{Runtime: runtimes.Containerd, Name: "app", Pod: runtimes.Pod{Container: "app", SandboxID: sandbox, Attempt: attempt(2)}}, false},
		{`msg="RunPodSandbox for &PodSandboxMetadata{Name:web,Uid:u-1,Namespace:prod,Attempt:0,} returns sandbox id \"` + id + `\""`,
			runtimes.Remnant{Runtime: runtimes.Containerd, Pod: runtimes.Pod{Name: "web", Namespace: "prod", UID: "u-1", Attempt: attempt(0)}}, false},
		{`msg="RemoveContainer for \"` + id + `\" returns successfully"`, runtimes.Remnant{Runtime: runtimes.Containerd}, true},
		{`msg="RemovePodSandbox \"` + id + `\" returns successfully"`, runtimes.Remnant{Runtime: runtimes.Containerd}, true},
		{`msg="StopContainer for \"` + id + `\" with timeout 30 (s)"`, runtimes.Remnant{Runtime: runtimes.Containerd}, false},
		{`2026-11-22 09:22:58 +0000 UTC m=+0.1 container remove ` + id + ` (image=docker.io/library/redis:7.2, name=gone)`,
			runtimes.Remnant{Runtime: runtimes.Podman, Name: "gone"}, true},
		{`container died ` + id + ` (image=docker.io/library/redis:7.2, name=gone, io.x=y)`, runtimes.Remnant{Runtime: runtimes.Podman, Name: "gone"}, false},
		{`msg="ignoring event" container=` + id + ` module=libcontainerd namespace=moby topic=/tasks/delete`, runtimes.Remnant{Runtime: runtimes.Docker}, false},
		{`scope.go:117] "RemoveContainer" containerID="` + id + `"`, runtimes.Remnant{}, false},
		{`kubelet.go:2453] "SyncLoop (PLEG): event for pod" pod="prod/web" event={"ID":"3f1c6a52-8b1e-4c0e-9d5f-0a6b7c8d9e01","Type":"ContainerDied","Data":"` + id + `"}`,
			runtimes.Remnant{Pod: runtimes.Pod{Name: "web", Namespace: "prod", UID: "3f1c6a52-8b1e-4c0e-9d5f-0a6b7c8d9e01"}}, false},
	} {
		collector := &removedCollector{live: map[string]bool{}}
		got := collector.mentionsIn(c.line)
		if len(got) != 1 {
			t.Errorf("%s: %d containers", c.line, len(got))
			continue
		}
		g, w := got[0], c.want
		same := g.Pod.Attempt == nil && w.Pod.Attempt == nil || g.Pod.Attempt != nil && w.Pod.Attempt != nil && *g.Pod.Attempt == *w.Pod.Attempt
		g.Pod.Attempt, w.Pod.Attempt = nil, nil
		if g.ID != id || g.Runtime != w.Runtime || g.Name != w.Name || g.Pod != w.Pod || !same || g.Complete != c.gone {
			t.Errorf("%s: %+v", c.line, got[0])
		}
		if strings.Contains(c.line, "image=") && (g.Container == nil || g.Container.Image != "docker.io/library/redis:7.2") {
			t.Errorf("%s: no image", c.line)
		}
		collector.live[id] = true
		if got := collector.mentionsIn(c.line); len(got) != 0 {
			t.Errorf("%s: told of a container that is there", c.line)
		}
	}
	for _, line := range []string{"", "sha256:" + id, "pulled " + id, `RemoveContainer for \"` + id[:40] + `\"`} {
		if got := (&removedCollector{live: map[string]bool{}}).mentionsIn(line); len(got) != 0 {
			t.Errorf("%q: %+v", line, got)
		}
	}
}

// TestLoggedBy: an entry that a log driver wrote tells of its container and image.
func TestLoggedBy(t *testing.T) {
	id := strings.Repeat("0a", 32)
	for _, c := range []struct {
		kind timeline.DataType
		id   string
		live bool
		want bool
	}{
		{timeline.SystemdJournal, id, false, true},
		{timeline.SystemdJournal, id[:12], false, false},
		{timeline.SystemdJournal, id, true, false},
		{timeline.ContainerConfiguration, id, false, false},
	} {
		var r timeline.Record
		r.Reset(c.kind, &timeline.Common{})
		r.String(timeline.FieldContainerID, c.id)
		r.String(timeline.FieldContainerName, "web")
		r.String(timeline.FieldImageName, "nginx:1.25.3")
		var x timeline.Reader
		if err := x.Read(&r); err != nil {
			t.Fatal(err)
		}
		got, ok := (&removedCollector{live: map[string]bool{id: c.live}}).loggedBy(c.kind, &x)
		if ok != c.want || ok && (got.ID != id || got.Name != "web" || got.Container.Image != "nginx:1.25.3") {
			t.Errorf("%v %q: %v, %+v", c.kind, c.id, ok, got)
		}
	}
}
