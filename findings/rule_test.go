package findings

import (
	"fmt"
	"os"
	"regexp"
	"slices"
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

// TestPatterns compiles every pattern of lagan's own rules, which loading them leaves for later.
func TestPatterns(t *testing.T) {
	if _, err := Default(); err != nil {
		t.Fatal(err)
	}
	n := 0
	patterns.Range(func(text, _ any) bool {
		if _, err := regexp.Compile(text.(string)); err != nil {
			t.Error(err)
		}
		n++
		return true
	})
	if n < 150 {
		t.Errorf("%d patterns", n)
	}
	if err := new(Set).Load("x", []byte("title: x\nid: x\nlogsource: {product: lagan, category: file}\ndetection: {a: {path|re: '('}, condition: a}\n")); err == nil {
		t.Error("a wrong pattern of the analyst's is taken")
	}
}

func BenchmarkDefault(b *testing.B) {
	for b.Loop() {
		patterns.Clear()
		if _, err := Default(); err != nil {
			b.Fatal(err)
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

// tactics are those that ATT&CK has each technique in, of the techniques that rules name (attack.mitre.org/techniques/enterprise).
const tactics = `
T1003 credential_access
T1014 T1027 T1036 T1070 T1140 T1222 T1562 T1564 T1612 defense_evasion
T1021 lateral_movement
T1037 T1098 T1543 T1546 T1547 persistence privilege_escalation
T1040 credential_access discovery
T1046 T1083 T1613 discovery
T1048 T1567 exfiltration
T1053 execution persistence privilege_escalation
T1059 T1609 execution
T1071 T1090 T1095 T1105 T1572 command_and_control
T1072 execution lateral_movement
T1074 T1560 collection
T1078 initial_access persistence privilege_escalation defense_evasion
T1110 T1552 credential_access
T1133 initial_access persistence
T1136 T1505 T1525 T1554 persistence
T1190 initial_access
T1205 command_and_control persistence defense_evasion
T1486 T1496 T1565 impact
T1548 privilege_escalation defense_evasion
T1556 persistence credential_access defense_evasion
T1574 persistence privilege_escalation defense_evasion
T1610 execution defense_evasion
T1611 privilege_escalation`

// TestTactics holds each technique's place: reports list it under the tactic that stands before it.
func TestTactics(t *testing.T) {
	of := make(map[string][]string)
	for line := range strings.Lines(strings.TrimSpace(tactics)) {
		var techniques []string
		for _, word := range strings.Fields(line) {
			if word[0] == 'T' {
				techniques = append(techniques, word)
				continue
			}
			for _, id := range techniques {
				of[id] = append(of[id], word)
			}
		}
	}
	s, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range s.Rules {
		tactic := ""
		for _, tag := range r.Tags {
			m := technique.FindStringSubmatch(tag)
			if m == nil {
				tactic = strings.TrimPrefix(tag, "attack.")
				continue
			}
			id, _, _ := strings.Cut(strings.ToUpper(m[1]), ".")
			if !slices.Contains(of[id], tactic) {
				t.Errorf("%s: %s is no technique of %s, but of %q", r.ID, id, tactic, of[id])
			}
		}
	}
}
