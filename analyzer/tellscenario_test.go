package analyzer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"lagan/fixtures"
	"lagan/internal/needs"
)

// scenario is what the attack of a fixture left, as its builder wrote it down.
type scenario struct {
	Container string   `json:"compromised_container"`
	Name      string   `json:"compromised"` // Podman's
	Files     []string `json:"compromised_files"`
	Deleted   []string `json:"deleted_in_container"`
	Node      []string `json:"node_files"`
}

// TestTimelineScenario finds all of it in one timeline of each node: the files that the
// attack left in the container and on the node, each at its time, and what it deleted.
func TestTimelineScenario(t *testing.T) {
	needs.Time(t)
	for _, name := range fixtures.Names {
		t.Run(name, func(t *testing.T) {
			var w struct {
				truth
				Scenario scenario `json:"scenario"`
			}
			fixtures.Truth(t, name, &w)
			n, err := Open(t.Context(), fixtures.Disk(t, name), Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			s := &w.Scenario
			merged := w.truth.merged(s)
			if s.Container == "" || len(merged) == 0 || len(s.Files) == 0 {
				t.Fatalf("the truth names no container: %+v", s)
			}
			events := make(map[string][]event) // of files, by container and path
			for _, e := range allEvents(t, n, TimelineOptions{}) {
				if e.text("data_type") == "fs:stat" {
					key := e.text("container_id") + e.text("filename")
					events[key] = append(events[key], e)
				}
			}
			// A folder that is named means what lies in it too: it counts itself.
			for _, p := range s.Files {
				recordedAt(t, events[s.Container+p], p, merged[p], "added", "modified")
			}
			for _, p := range s.Deleted {
				recordedAt(t, events[s.Container+p], p, 0, "deleted", "opaque")
			}
			node := make(map[string]int64)
			for _, f := range w.NodeFS.Files {
				node[f.Path] = f.Mtime
			}
			for _, p := range s.Node {
				recordedAt(t, events[p], p, node[p], "")
			}
		})
	}
}

// merged returns the times of the scenario's container, and fills in its id.
func (w *truth) merged(s *scenario) map[string]int64 {
	out := make(map[string]int64)
	add := func(id, name string, files []truthFile) {
		if id != s.Container && (s.Name == "" || strings.TrimPrefix(name, "/") != s.Name) {
			return
		}
		s.Container = id
		for _, f := range files {
			out[f.Path] = f.Mtime
		}
	}
	for _, ns := range w.Namespaces {
		for _, c := range ns.Containers {
			add(c.ID, "", c.Merged)
		}
	}
	for _, c := range w.Containers {
		add(c.ID, c.Inspect.Name, c.Merged)
	}
	return out
}

// recordedAt checks that a path has a record of one of the kinds, and at the time
// that the live system had for it.
func recordedAt(t *testing.T, events []event, path string, mtime int64, kinds ...string) {
	t.Helper()
	desc := "Content Modification Time"
	if mtime == 0 {
		desc = "Content Deletion Time"
	}
	i := slices.IndexFunc(events, func(e event) bool {
		return slices.Contains(kinds, e.text("change_kind")) && e.text("timestamp_desc") == desc && (mtime == 0 || e.text("timestamp_nanoseconds") == strconv.FormatInt(mtime, 10))
	})
	if i < 0 {
		t.Errorf("%s: no record of %q at %q %d: %s", path, kinds, desc, mtime, fmt.Sprint(show(events, "change_kind", "timestamp_desc", "timestamp_nanoseconds")))
		return
	}
	if mtime == 0 && events[i]["is_allocated"] != false {
		t.Errorf("%s: it is deleted, and said to be allocated", path)
	}
}
