package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"lagan/fixtures"
)

// leaves returns the values of a JSON document by their paths.
func leaves(v any, at string, out map[string]any) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			leaves(e, at+"/"+k, out)
		}
		if len(v) == 0 {
			out[at] = "{}"
		}
	case []any:
		for i, e := range v {
			leaves(e, fmt.Sprint(at, "/", i), out)
		}
		if len(v) == 0 {
			out[at] = "[]"
		}
	default:
		out[at] = v
	}
}

// compareInspect compares what the living system said with what the disk says;
// live are the members that only a running system has.
func compareInspect(t *testing.T, name string, want any, args []string, live *regexp.Regexp) (same int) {
	var out, errs bytes.Buffer
	if code := run(t.Context(), args, &out, &errs); code != exitOK {
		t.Fatalf("%s: exit %d: %s", name, code, errs.String())
	}
	var got any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if list, ok := got.([]any); ok {
		got = list[0]
	}
	w, g := make(map[string]any), make(map[string]any)
	leaves(want, "", w)
	leaves(got, "", g)
	for at, v := range w {
		switch have, ok := g[at]; {
		case live.MatchString(at):
		case !ok || !reflect.DeepEqual(have, v):
			t.Errorf("%s: %s: %v, want %v", name, at, have, v)
		default:
			same++
		}
	}
	for at, v := range g {
		if _, ok := w[at]; !ok && !live.MatchString(at) {
			t.Errorf("%s: %s: %v, which the system did not say", name, at, v)
		}
	}
	return same
}

func TestInspectDocker(t *testing.T) {
	var truth struct {
		Containers []struct {
			ID      string
			Inspect map[string]any
		}
	}
	fixtures.Truth(t, "docker-ext4", &truth)
	same := 0
	for _, c := range truth.Containers {
		if mounts, ok := c.Inspect["Mounts"].([]any); ok { // Docker's order is that of a map
			slices.SortFunc(mounts, func(a, b any) int {
				return strings.Compare(a.(map[string]any)["Destination"].(string), b.(map[string]any)["Destination"].(string))
			})
		}
		same += compareInspect(t, c.ID[:12], c.Inspect, []string{"inspect", fixtures.Disk(t, "docker-ext4"), c.ID, "--docker"}, regexp.MustCompile("^/ExecIDs"))
	}
	if same < 1500 {
		t.Errorf("only %d values were compared", same)
	}
}

func TestInspectCRI(t *testing.T) {
	var truth struct {
		CRI struct{ Inspect, Inspectp map[string]any }
	}
	fixtures.Truth(t, "eks-xfs", &truth)
	live := regexp.MustCompile("^/status/(resources/windows|linux/namespaces/options/usernsOptions)$|^/info/(removing|runtimeOptions|processStatus|netNamespaceClosed|pid)$")
	same := 0
	for _, all := range []map[string]any{truth.CRI.Inspect, truth.CRI.Inspectp} {
		for id, want := range all {
			same += compareInspect(t, id[:12], want, []string{"inspect", fixtures.Disk(t, "eks-xfs"), id, "--cri"}, live)
		}
	}
	if same < 2000 {
		t.Errorf("only %d values were compared", same)
	}
}

// TestInspectCRIO compares with crictl inspect and inspectp of a living CRI-O.
// What its sandbox and the specification of a container got while they were
// started, the files on the disk don't have.
func TestInspectCRIO(t *testing.T) {
	var truth struct {
		Inspect, Inspectp []map[string]any
	}
	fixtures.Truth(t, "crio", &truth)
	live := regexp.MustCompile("^/info/runtimeSpec/")
	same := 0
	for _, want := range append(truth.Inspect, truth.Inspectp...) {
		id := want["status"].(map[string]any)["id"].(string)
		same += compareInspect(t, id[:12], want, []string{"inspect", fixtures.Disk(t, "crio"), id, "--cri"}, live)
	}
	if same < 100 {
		t.Errorf("only %d values were compared", same)
	}
}
