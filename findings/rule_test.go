package findings

import "testing"

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
