package findings

import (
	"os"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"
)

// example is a rule with subjects that meet it and such that look like them and
// don't.
type example struct {
	Rule string              `yaml:"rule"`
	Kind string              `yaml:"kind"`
	With map[string]string   `yaml:"with"` // fields that all have
	Hit  []map[string]string `yaml:"hit"`
	Miss []map[string]string `yaml:"miss"`
}

// defaults are the fields that the analyzer gives every file.
var defaults = map[string]string{
	"type": "file", "executable": "false", "setuid": "false", "setgid": "false", "capability": "false", "gained": "false", "hidden": "false",
	"in_temp": "false", "startup": "false", "document_root": "false", "home_history": "false", "packaged": "false", "rewritten": "false", "size": "100", "mode": "0644",
}

func (x *example) subject(own map[string]string) *Subject {
	s := NewSubject(x.Kind)
	if x.Kind == KindFile {
		for k, v := range defaults {
			s.Set(k, v)
		}
	}
	for _, fields := range []map[string]string{x.With, own} {
		for k, v := range fields {
			s.Set(k, v)
		}
	}
	return s
}

// TestExamples holds every rule that is data against what it must find and what
// it must not.
func TestExamples(t *testing.T) {
	set, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("testdata/examples.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all []example
	if err := yaml.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	hits, misses := make(map[string]int), make(map[string]int)
	for _, x := range all {
		if set.Rule(x.Rule) == nil {
			t.Errorf("there is no rule %s", x.Rule)
			continue
		}
		hits[x.Rule] += len(x.Hit)
		misses[x.Rule] += len(x.Miss)
		for i, own := range append(slices.Clone(x.Hit), x.Miss...) {
			matches := slices.ContainsFunc(set.Match(x.subject(own)), func(m Match) bool { return m.Rule.ID == x.Rule })
			if want := i < len(x.Hit); matches != want {
				t.Errorf("%s: matches %v, want %v: %v", x.Rule, matches, want, own)
			}
		}
	}
	for _, r := range set.Rules {
		if !slices.Equal(r.kinds, []string{KindComputed}) && (hits[r.ID] == 0 || misses[r.ID] == 0) {
			t.Errorf("%s: testdata/examples.yaml has %d subjects that meet it and %d that don't", r.ID, hits[r.ID], misses[r.ID])
		}
	}
}
