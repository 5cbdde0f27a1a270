package analyzer

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"lagan/fixtures"
	"lagan/runtimes"
)

// engineTruth is what a live dockerd said of its swarm, plugins and builds.
type engineTruth struct {
	Swarm struct {
		Swarm struct{ ID string }
		Nodes []struct {
			ID            string
			Spec          struct{ Role string }
			Status        struct{ Addr string }
			ManagerStatus struct{ Addr string }
		}
		Services []struct {
			ID   string
			Spec struct{ Name string }
		}
		Tasks []struct {
			ID        string
			CreatedAt time.Time
			ServiceID string
			NodeID    string
			Slot      int
			Spec      struct {
				ContainerSpec struct {
					Image         string
					Command, Args []string
				}
			}
			Status struct {
				Timestamp       time.Time
				State, Message  string
				ContainerStatus struct {
					ContainerID string
					PID         int
				}
			}
			DesiredState string
		}
	}
	Plugins []struct {
		ID, Name string
		Enabled  bool
		Settings struct{ Env []string }
		Config   struct {
			Description string
			Entrypoint  []string
			Interface   struct{ Types []string }
			Network     struct{ Type string }
			Linux       struct{ Capabilities []string }
		}
	}
	BuildCache []struct {
		ID, Parent, Type, Description string
		CreatedAt, LastUsedAt         time.Time
		UsageCount                    int
		Size                          int64
	} `json:"build_cache"`
}

// TestSwarm compares with the API of a live manager.
func TestSwarm(t *testing.T) {
	n := openFixture(t, "docker-swarm", Options{})
	var tr engineTruth
	fixtures.Truth(t, "docker-swarm", &tr)
	var got, want []string
	for _, v := range n.SwarmNodes() {
		got = append(got, fmt.Sprint(v.ID, v.Cluster, v.Role, v.Address, v.Managers))
		if v.Log == "" || !v.Expires.After(v.ValidFrom) {
			t.Errorf("log %q, from %v to %v", v.Log, v.ValidFrom, v.Expires)
		}
	}
	for _, w := range tr.Swarm.Nodes {
		want = append(want, fmt.Sprint(w.ID, tr.Swarm.Swarm.ID, w.Spec.Role, w.ManagerStatus.Addr, []runtimes.SwarmPeer{{ID: w.ID, Address: w.ManagerStatus.Addr}}))
	}
	sameSet(t, "nodes", got, want)

	services := make(map[string]string)
	for _, s := range tr.Swarm.Services {
		services[s.ID] = s.Spec.Name
	}
	got, want = nil, nil
	for _, v := range n.SwarmTasks() {
		got = append(got, fmt.Sprint(v.ID, v.Service, v.Slot, v.Node, v.Image, v.Command, v.State, v.Message, v.Desired, v.Container, v.PID, v.Created, v.Reported, v.Assigned))
	}
	for _, w := range tr.Swarm.Tasks {
		c := w.Spec.ContainerSpec
		want = append(want, fmt.Sprint(w.ID, services[w.ServiceID], w.Slot, w.NodeID, c.Image, append(c.Command, c.Args...), w.Status.State, w.Status.Message, w.DesiredState,
			w.Status.ContainerStatus.ContainerID, w.Status.ContainerStatus.PID, w.CreatedAt.UTC(), w.Status.Timestamp.UTC(), true))
	}
	sameSet(t, "tasks", got, want)
	noGaps(t, n)
}

// TestPluginsAndBuilds compares with the API of the same dockerd.
func TestPluginsAndBuilds(t *testing.T) {
	n := openFixture(t, "docker-swarm", Options{})
	var tr engineTruth
	fixtures.Truth(t, "docker-swarm", &tr)
	var got, want []string
	for _, v := range n.Plugins() {
		got = append(got, fmt.Sprint(v.ID, v.Name, v.Enabled, v.Description, v.Command, v.Env, v.Interfaces, v.Network, v.Capabilities))
	}
	for _, w := range tr.Plugins {
		want = append(want, fmt.Sprint(w.ID, w.Name, w.Enabled, w.Config.Description, w.Config.Entrypoint, w.Settings.Env, w.Config.Interface.Types, w.Config.Network.Type,
			w.Config.Linux.Capabilities))
	}
	sameSet(t, "plugins", got, want)

	got, want = nil, nil
	measured := make(map[string]int64) // a size that was never noted the daemon measures when it is asked
	for _, v := range n.Builds() {
		measured[v.ID] = v.Size
		got = append(got, fmt.Sprint(v.ID, v.Type, v.Name, strings.Join(v.Parents, ""), v.Created, v.Used, v.Uses, v.Size))
	}
	for _, w := range tr.BuildCache {
		if measured[w.ID] < 0 {
			w.Size = -1
		}
		want = append(want, fmt.Sprint(w.ID, w.Type, w.Description, w.Parent, w.CreatedAt.UTC(), w.LastUsedAt.UTC(), w.UsageCount, w.Size))
	}
	sameSet(t, "cache", got, want)
	noGaps(t, n)
}

// sameSet compares two lists whatever their order.
func sameSet(t *testing.T, what string, got, want []string) {
	t.Helper()
	count := make(map[string]int)
	for _, g := range got {
		count[g]++
	}
	for _, w := range want {
		count[w]--
	}
	for _, line := range slices.Sorted(maps.Keys(count)) {
		if count[line] > 0 {
			t.Errorf("%s: only lagan has %s", what, line)
		} else if count[line] < 0 {
			t.Errorf("%s: only the daemon has %s", what, line)
		}
	}
	if len(got) == 0 {
		t.Errorf("no %s", what)
	}
}
