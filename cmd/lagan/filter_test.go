package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"lagan/analyzer"
	"lagan/runtimes"
)

func TestFilter(t *testing.T) {
	code := 3
	r := &containerRecord{ID: "abc", Name: "web", State: "exited", ExitCode: &code, Privileged: true, Labels: map[string]string{"app": "shop", "io.x/y.z": "1"},
		Mounts: []runtimes.Mount{{Source: "/etc", Destination: "/host/etc"}}, LowerDirs: []string{"/a", "/b"}}
	v, err := plain(r)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		"name=web": true, "name=we": false, "name=w*b": true, "name!=web": false, "name!=x": true, "exit_code=3": true, "privileged=true": true,
		"app=shop": true, "labels.app=shop": true, "label=app": true, "label=app=shop": true, "label=app=other": false, "label=none": false,
		"label=io.x/y.z=1": true, "io.x/y.z=1": true, "mounts.source=/etc": true, "mounts.source=/*": true, "mounts.destination=/etc": false,
		"lower_dirs=/b": true, "lower_dirs=/c": false, "image=": true, "name=": false, "name!=": true, "labels=app=shop": true, "state=*": true, "finished=*": false,
	} {
		fs, err := parseFilters([]string{text}, r)
		if err != nil {
			t.Fatal(err)
		}
		if got := fs[0].holds(v); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	for _, bad := range []string{"name", "=x", ""} {
		var usage usageError
		if _, err := parseFilters([]string{bad}, r); !errors.As(err, &usage) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for text, like := range map[string]record{"none=x": &whichRecord{}, "mounts.sorce=/etc": r, "mounts.source.x=/etc": r} {
		_, err := parseFilters([]string{text}, like)
		if err == nil || !strings.Contains(err.Error(), "the fields are") && !strings.Contains(err.Error(), "mounts.source has no parts") {
			t.Errorf("%s: %v", text, err)
		}
	}
	for text, good := range map[string]bool{"app=none": true, "io.x/y.z=none": true, "stat=exited": false, "app.x=1": false, "label=none": true, "labels.none=x": true} {
		fs, err := parseFilters([]string{text}, r)
		if err != nil {
			t.Fatal(err)
		}
		var usage usageError
		if err := checkGuesses(fs, []record{&containerRecord{ID: "b"}, r}); (err == nil) != good || err != nil && !errors.As(err, &usage) {
			t.Errorf("%s: %v", text, err)
		}
		if err := checkGuesses(fs, nil); err != nil {
			t.Errorf("%s of nothing: %v", text, err)
		}
	}
}

func TestInfraList(t *testing.T) {
	i := analyzer.DefaultInfra()
	n := i.Extend("---\n# comment\nnames:\n  - konnectivity-agent\nimages:\n  - gke.gcr.io/fluent-bit # logs\n  #- no/image\n  - \"k8s.gcr.io/pause\"\nlabels:\n  - a=b\nother:\n  - x\n")
	if n != 4 || !slices.Contains(i.Names, "konnectivity-agent") || !slices.Contains(i.Images, "gke.gcr.io/fluent-bit") || !slices.Contains(i.Labels, "a=b") {
		t.Errorf("%d: %+v", n, i)
	}
	for _, c := range []struct {
		c    runtimes.Container
		want bool
	}{
		{runtimes.Container{Name: "konnectivity-agent"}, true},
		{runtimes.Container{Image: "gke.gcr.io/fluent-bit:v1@sha256:00"}, true},
		{runtimes.Container{Image: "evil.example/fluent-bit"}, false},
		{runtimes.Container{Image: "602401143452.dkr.ecr.us-west-2.amazonaws.com/eks/pause:3.10"}, true},
		{runtimes.Container{Labels: map[string]string{"a": "b"}}, true},
		{runtimes.Container{Labels: map[string]string{"a": "c"}}, false},
		{runtimes.Container{Kind: runtimes.KindSandbox}, true},
		{runtimes.Container{Pod: runtimes.Pod{Namespace: "kube-system"}}, true},
		{runtimes.Container{Image: "nginx"}, false},
	} {
		if got := i.Container(&analyzer.Container{Container: c.c}); got != c.want {
			t.Errorf("%+v: %v", c.c, got)
		}
	}
}
