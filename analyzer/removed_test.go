package analyzer

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/fixtures"
	"lagan/internal/needs"
	"lagan/runtimes"
)

func removedFrom(t *testing.T, name string) (*Node, []*Removed) {
	t.Helper()
	n, err := Open(context.Background(), fixtures.Disk(t, name), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	all, err := n.Removed(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return n, all
}

// TestRemovedContainers finds the container that was removed from each disk:
// with its sources, every value as the scenario has it, its life within bounds.
func TestRemovedContainers(t *testing.T) {
	var eks struct {
		Scenario struct {
			Removed string `json:"removed_container"`
		} `json:"scenario"`
	}
	fixtures.Truth(t, "eks-xfs", &eks)
	for _, d := range []struct {
		disk, id, name, pod, uid, image, command string
		exit                                     *int
	}{
		{disk: "eks-xfs", id: eks.Scenario.Removed, name: "debugger", pod: "default/web-7c5ddbdf54-x2k9q", uid: "3f1c6a52-8b1e-4c0e-9d5f-0a6b7c8d9e01"},
		{disk: "docker-ext4", name: "gone", image: "nginx:1.25.3"},
		{disk: "podman-ext4", name: "gone", image: "docker.io/library/redis:7.2"},
	} {
		n, all := removedFrom(t, d.disk)
		i := slices.IndexFunc(all, func(r *Removed) bool {
			return r.Object == runtimes.ObjectContainer && r.Name == d.name && (d.id == "" || r.ID == d.id)
		})
		if i < 0 {
			t.Errorf("%s: no removed container %q", d.disk, d.name)
			continue
		}
		r := all[i]
		if d.image != "" && r.Container.Image != d.image {
			t.Errorf("%s: image %q, want %q", d.disk, r.Container.Image, d.image)
		}
		if d.pod != "" && (r.Pod.Namespace+"/"+r.Pod.Name != d.pod || r.Pod.UID != d.uid || r.Pod.Container != d.name) {
			t.Errorf("%s: pod %+v", d.disk, r.Pod)
		}
		if r.ExistedBy.IsZero() || r.GoneBy.IsZero() || r.GoneBy.Before(r.ExistedBy) || len(r.Traces) < 2 {
			t.Errorf("%s: from %v to %v, %d traces", d.disk, r.ExistedBy, r.GoneBy, len(r.Traces))
		}
		// The disks were made in one minute: no bound lies outside of the disk's own times.
		for _, at := range []time.Time{r.ExistedBy, r.LastSeen, r.GoneBy} {
			if at.Year() != 2026 || at.Month() != 11 || at.Day() != 22 {
				t.Errorf("%s: %v is not of the day on which the disk was made", d.disk, at)
			}
		}
		c, err := n.FindContainer(r.ID[:12])
		if err != nil || !c.Removed || c.ID != r.ID {
			t.Errorf("%s: finding the removed container: %v", d.disk, err)
		}
	}
}

// TestRemovedIsNotInvented: nothing that the disks' truth lists is told as removed.
func TestRemovedIsNotInvented(t *testing.T) {
	needs.Time(t)
	for _, disk := range fixtures.Names {
		var tr truth
		fixtures.Truth(t, disk, &tr)
		living := map[string]bool{}
		for _, ns := range tr.Namespaces {
			for _, c := range ns.Containers {
				living[c.ID] = true
			}
			for _, i := range ns.Images {
				living[i.Ref] = true
			}
		}
		for _, c := range tr.Containers {
			living[c.ID] = true
		}
		for _, i := range tr.Images {
			living[i.Inspect.ID] = true
			living["sha256:"+i.Inspect.ID] = true
		}
		n, all := removedFrom(t, disk)
		for _, r := range all {
			if living[r.ID] {
				t.Errorf("%s: %s %s is there, and is told as removed", disk, r.Object, r.ID)
			}
			if r.Object == runtimes.ObjectContainer && len(r.ID) != 64 {
				t.Errorf("%s: removed container %q", disk, r.ID)
			}
		}
		for _, s := range n.Stores {
			for sn, err := range s.Snapshots() {
				if err == nil && slices.ContainsFunc(all, func(r *Removed) bool {
					return r.Object == runtimes.ObjectSnapshot && r.Snapshot != nil && r.Snapshot.Name != "" && r.Snapshot.Name == sn.Name
				}) {
					t.Errorf("%s: snapshot %q is there, and is told as removed", disk, sn.Name)
				}
			}
		}
	}
}

// TestNothingThereIsRemoved: on no fixture is a container, image or folder of a layer
// told as removed that a list of the node has, under any of its names.
func TestNothingThereIsRemoved(t *testing.T) {
	needs.Time(t)
	for _, disk := range []string{"docker-c8d", "docker-swarm", "docker-remap", "docker-vfs", "podman-sql", "podman-vfs", "podman-user", "crio", "nerdctl", "containerd-native", "containerd-erofs"} {
		n, all := removedFrom(t, disk)
		ids, dirs := map[string]bool{}, map[string]bool{}
		for _, c := range n.Containers() {
			ids[c.ID] = true
			dirs[c.Rootfs.Upper.Dir] = true
		}
		for _, i := range n.Images() {
			ids[i.ID], ids[i.Digest] = true, true
			for _, name := range i.Names {
				ids[name] = true
			}
		}
		for _, b := range n.Builds() {
			ids[b.ID] = true
		}
		for _, r := range all {
			last := r.ID[max(0, len(r.ID)-64):]
			if ids[r.ID] || ids[last] || r.Container != nil && r.Container.Rootfs.Upper.Dir != "" && dirs[r.Container.Rootfs.Upper.Dir] {
				t.Errorf("%s: %s %s is there, and is told as removed", disk, r.Object, r.ID)
			}
			if r.Object == runtimes.ObjectContainer && r.ID != "" && len(r.ID) != 64 {
				t.Errorf("%s: removed container %q", disk, r.ID)
			}
		}
	}
}

// TestRecoveredFilesOfFixtures: what is marked whole of a deleted file of the
// containers' documents can be read, and every path is of the node's tree.
func TestRecoveredFilesOfFixtures(t *testing.T) {
	needs.Time(t)
	n, _ := removedFrom(t, "docker-ext4")
	whole := 0
	err := n.Recovered(context.Background(), func(f *RecoveredFile) error {
		if f.State == evidence.ContentWhole && strings.HasSuffix(f.Path, "/config.v2.json") {
			b := make([]byte, min(f.Content.Size(), 32))
			if _, err := f.Content.ReadAt(b, 0); err != nil || !strings.HasPrefix(string(b), `{"StreamConfig"`) {
				t.Errorf("%s, inode %d: %q, %v", f.Path, f.Ino, b, err)
			}
			whole++
		}
		return nil
	})
	if err != nil || whole == 0 {
		t.Errorf("%d whole documents, %v", whole, err)
	}
}

// TestRemovedViews: of removed containers what is left can be read as of living ones.
func TestRemovedViews(t *testing.T) {
	for _, d := range []struct {
		disk, name string
		changes    []string // of docker diff's kind
		image      string   // a file of its image
	}{
		{"docker-ext4", "gone", []string{"A opt/gone-marker"}, "/docker-entrypoint.sh"},
		{"podman-ext4", "nginx-working-container", []string{"A built", "D etc/debian_version"}, "/docker-entrypoint.sh"},
		{"podman-ext4", "gone", nil, "/usr/local/etc/redis.conf"},
	} {
		n, _ := removedFrom(t, d.disk)
		c, err := n.FindContainer(d.name)
		if err != nil {
			t.Errorf("%s: %v", d.disk, err)
			continue
		}
		tree, err := n.View(c)
		if err != nil {
			t.Errorf("%s, %s: %v", d.disk, d.name, err)
			continue
		}
		if _, err := evidence.Resolve(tree.FS, tree.FS.Root(), d.image, false); err != nil {
			t.Errorf("%s, %s: %v", d.disk, d.name, err)
		}
		for _, change := range d.changes {
			_, err := evidence.Resolve(tree.FS, tree.FS.Root(), "/"+change[2:], false)
			if (err == nil) != (change[0] == 'A') {
				t.Errorf("%s, %s: %s: %v", d.disk, d.name, change, err)
			}
		}
	}
}
