package sudoers

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"lagan/evidence"
)

func TestRead(t *testing.T) {
	text := "# comment\nDefaults env_reset\nDefaults:bob !authenticate\nUser_Alias ADMINS = alice, \\\n  bob\nroot\tALL=(ALL:ALL) ALL # all\n" +
		"%wheel ALL=(ALL) NOPASSWD: ALL\n#1001 ALL = /bin/x\n@includedir /etc/sudoers.d\n#includedir /etc/x\nlonely\n"
	var got strings.Builder
	for r, err := range Read(strings.NewReader(text)) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%d %s %s %v %s\n", r.Offset, r.Kind, r.User, r.NoPassword, r.Text)
	}
	want := "10 defaults  false Defaults env_reset\n29 defaults  true Defaults:bob !authenticate\n56 alias  false User_Alias ADMINS = alice, bob\n" +
		"91 rule root false root ALL=(ALL:ALL) ALL\n120 rule %wheel true %wheel ALL=(ALL) NOPASSWD: ALL\n151 rule #1001 false #1001 ALL = /bin/x\n" +
		"170 include  false @includedir /etc/sudoers.d\n197 include  false #includedir /etc/x\n"
	if got.String() != want {
		t.Errorf("%s, not %s", &got, want)
	}
	for _, err := range Read(strings.NewReader(strings.Repeat(strings.Repeat("x", 1000)+"\\\n", 100))) {
		if err != nil && !errors.Is(err, evidence.ErrCorrupt) {
			t.Error(err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("a ALL=(ALL) NOPASSWD: ALL\nx \\\n y\n")
	f.Fuzz(func(t *testing.T, s string) {
		for r, err := range Read(strings.NewReader(s)) {
			if err == nil && (r.Kind == "" || r.Text == "") {
				t.Errorf("%+v", r)
			}
		}
	})
}
