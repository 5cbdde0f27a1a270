package timeline

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"
)

// kept writes the story through a filter, and returns the data_types that are left.
func kept(t *testing.T, f Filter) []string {
	t.Helper()
	var out []string
	records := func(add func(*Record)) {
		story(add)
		var r Record
		r.Gap(nil, "volume 1", "it is broken")
		add(&r)
	}
	for _, l := range lines(t, write(t, JSONL, Options{Filter: f}, records)) {
		out = append(out, l["data_type"].(string))
	}
	slices.Sort(out)
	return out
}

func TestFilter(t *testing.T) {
	all := kept(t, Filter{})
	count := func(list []string, kind string) (n int) {
		for _, k := range list {
			if k == kind {
				n++
			}
		}
		return n
	}
	kinds, err := ParseKinds([]string{"fs:*", "systemd:journal"})
	if err != nil || !slices.Equal(kinds, []DataType{FSStat, RecoveredFile, SystemdJournal}) {
		t.Fatal(kinds, err)
	}
	got := kept(t, Filter{Kinds: kinds})
	if len(got) >= len(all) || count(got, "fs:stat") != count(all, "fs:stat") || count(got, "fs:stat") == 0 || count(got, "lagan:warning") == 0 {
		t.Errorf("kinds: %v of %v", got, all)
	}
	for _, k := range got {
		if k != "fs:stat" && k != "lagan:warning" && k != "systemd:journal" {
			t.Errorf("kinds: %s was kept", k)
		}
	}
	for _, test := range []struct {
		grep string
		hit  bool
	}{
		{"Mode: 0o4644", true},   // in a message that is made when it is written
		{"^modified$", true},     // in a field
		{"web, the first", true}, // in the shared fields
		{"no such text", false},
	} {
		got := kept(t, Filter{Grep: regexp.MustCompile(test.grep), Kinds: []DataType{FSStat}})
		if hit := count(got, "fs:stat") > 0; hit != test.hit || count(got, "lagan:warning") == 0 {
			t.Errorf("%q: %v", test.grep, got)
		}
	}
	for _, bad := range []string{"nothing", "[", ""} {
		if _, err := ParseKinds([]string{bad}); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestStats(t *testing.T) {
	w, err := NewWriter(Options{Stats: true, Filter: Filter{Since: time.Unix(1000, 0)}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var r Record
	r.Reset(Unknown, nil)
	r.String(FieldContainerID, "c0ffee")
	r.String(FieldKubernetesNamespace, "default")
	r.String(FieldKubernetesPodName, "web-0")
	r.String(FieldKubernetesContainerName, "nginx")
	pod := r.Common()
	r.Reset(FSStat, pod)
	r.Unix(Modified, 500, 0) // before
	r.Unix(Accessed, 86400*3+1, 7)
	r.Unix(Created, 86400*3+2, 0)
	w.Add(&r)
	r.Reset(SyslogLine, nil)
	r.Unix(Modified, 86400*5, 0)
	w.Add(&r)
	r.Gap(nil, "x", "broken")
	w.Add(&r)
	if err := w.Finish(context.Background()); err != nil {
		t.Fatal(err)
	}
	s := w.Stats()
	all, timeless := s.Events()
	first, last := s.Span()
	got := fmt.Sprint(all, timeless, s.Kinds(), s.Containers(), len(s.Days()), s.Days()[0].Events, first.Unix(), first.Nanosecond(), last.Unix())
	if want := "4 1 [{fs:stat 2} {lagan:warning 1} {syslog:line 1}] [{default/web-0/nginx 2}] 2 2 259201 7 432000"; got != want {
		t.Errorf("%s, not %s", got, want)
	}
}
