package analyzer

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/fixtures"
	"lagan/runtimes"
)

// TestVolumesOfRemovedContainers: the document of a removed container leads to the
// volumes that it mounted, one that is still there and one that isn't.
func TestVolumesOfRemovedContainers(t *testing.T) {
	n, err := Open(t.Context(), fixtures.Disk(t, "docker-ext4"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	living, err := n.FindContainer("tomcat-prod")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := evidence.ReadFile(n.Tree, n.Tree.Root(), "/var/lib/docker/containers/"+living.ID+"/config.v2.json", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var files []*RecoveredFile
	removed := func(digit, volume string) string {
		id := strings.Repeat(digit, 64)
		b := bytes.ReplaceAll(raw, []byte(living.ID), []byte(id))
		b = bytes.ReplaceAll(bytes.ReplaceAll(b, []byte(`"webdata"`), []byte(`"`+volume+`"`)), []byte("/webdata/"), []byte("/"+volume+"/"))
		f := &RecoveredFile{Volume: 1, Path: "/var/lib/docker/containers/" + id + "/config.v2.json"}
		f.Info.Type, f.Info.Size, f.State = evidence.TypeFile, int64(len(b)), evidence.ContentWhole
		f.Content = io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))
		files = append(files, f)
		return id
	}
	mounts, lost := removed("a", "webdata"), removed("b", "lost")
	n.removedOnce.Do(func() {
		c := &removedCollector{n: n, by: map[string]*Removed{}, live: map[string]bool{living.ID: true}}
		if err := c.fromFiles(files); err != nil {
			t.Fatal(err)
		}
		n.removedAll = c.finish()
	})
	all, err := n.Removed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	values := func(object runtimes.Object, id, field string) (out []string) {
		for _, r := range all {
			for _, v := range r.Values {
				if r.Object == object && r.ID == id && v.Field == field {
					out = append(out, v.Value)
				}
			}
		}
		return out
	}
	for _, c := range []struct {
		object    runtimes.Object
		id, field string
		want      []string
	}{
		{runtimes.ObjectContainer, mounts, "volume", []string{"webdata"}},
		{runtimes.ObjectContainer, lost, "volume", []string{"lost"}},
		{runtimes.ObjectVolume, "lost", "container", []string{lost}},
		{runtimes.ObjectVolume, "webdata", "container", nil}, // is still there
	} {
		if got := values(c.object, c.id, c.field); !slices.Equal(got, c.want) {
			t.Errorf("%s %s: %s %q, want %q", c.object, c.id, c.field, got, c.want)
		}
	}
	list, err := n.WithRemoved(t.Context(), n.DataVolumes())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name       string
		removed    bool
		containers []string
	}{{"webdata", false, []string{mounts}}, {"lost", true, []string{lost}}} {
		i := slices.IndexFunc(list, func(v *DataVolume) bool { return v.Name == c.name })
		if i < 0 || list[i].Removed != c.removed || !slices.Equal(list[i].RemovedContainers, c.containers) {
			t.Errorf("volume %s: %v", c.name, list)
		}
	}
}
