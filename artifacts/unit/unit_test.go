package unit

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"lagan/evidence"
)

func TestRead(t *testing.T) {
	u, err := Read(strings.NewReader(`# a comment
[Unit]
Description=DNS cache
[Service]
Type = simple
User=root
Environment=A=1 B=2
ExecStartPre=-/bin/true
ExecStart=/usr/sbin/.dnsd --pool \
# between
  203.0.113.7:3333
ExecStart=
Restart=always
[Install]
WantedBy=multi-user.target default.target
`))
	want := `{DNS cache root [-/bin/true /usr/sbin/.dnsd --pool  203.0.113.7:3333] []  [] [multi-user.target default.target] [A=1 B=2] always simple}`
	if got := fmt.Sprint(u); err != nil || got != want {
		t.Errorf("%v: %s", err, got)
	}
	u, err = Read(strings.NewReader("[Timer]\nOnCalendar=*-*-* 04:00\nOnBootSec=5min\nUnit=x.service\n[Path]\nPathExists=/tmp/x\n[Socket]\nListenStream=4444\n"))
	if got := fmt.Sprintln(u.Schedule, u.Starts, u.Paths); err != nil || got != "[OnCalendar=*-*-* 04:00 OnBootSec=5min] x.service [PathExists=/tmp/x ListenStream=4444]\n" {
		t.Errorf("%v: %s", err, got)
	}
	if _, err := Read(strings.NewReader(strings.Repeat("x", maxUnit+1))); !errors.Is(err, evidence.ErrUnsupported) {
		t.Error(err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add("[Service]\nExecStart=/bin/x \\\n y\nOnCalendar=daily\n")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := Read(strings.NewReader(s))
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range [][]string{u.Commands, u.Schedule, u.Paths, u.WantedBy, u.Environment} {
			if len(l) > maxValues {
				t.Error(len(l))
			}
		}
	})
}
