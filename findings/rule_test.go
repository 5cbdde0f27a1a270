package findings

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestDefault(t *testing.T) {
	s, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range s.Rules {
		if len(r.Techniques()) == 0 && r.ID != "falco-alert" && r.ID != "falco-alert-urgent" && r.ID != "guardduty" && r.ID != "indicator" {
			t.Errorf("%s names no technique", r.ID)
		}
		if r.Harmless() == "" {
			t.Errorf("%s doesn't say why it may be harmless", r.ID)
		}
		for _, u := range r.Unless {
			if s.Rule(u) == nil {
				t.Errorf("%s gives way to %s, which is no rule", r.ID, u)
			}
		}
	}
}

// TestDocumented holds the table of docs/findings.md against the rules.
func TestDocumented(t *testing.T) {
	s, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("../docs/findings.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range s.Rules {
		if row := fmt.Sprintf("| `%s` | %s | %s | %s |\n", r.ID, r.Level, strings.Join(r.Techniques(), " "), r.Title); !strings.Contains(string(b), row) {
			t.Errorf("docs/findings.md lacks the row %s", row)
		}
	}
}
