package packages

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/internal/needs"
)

func TestLines(t *testing.T) {
	zone := time.FixedZone("x", 3600)
	const yum = "Dec 31 23:00:00 Installed: a-1.x86_64\nJan 01 00:30:00 Erased: b\n"
	years := Survey(strings.NewReader(yum))
	years.Begin(time.Date(2025, 2, 1, 0, 0, 0, 0, time.UTC), zone)
	for _, test := range []struct {
		log  string
		o    Options
		want []Entry
		errs int
	}{
		{"2016-08-03 15:25:53 startup archives install\n", Options{Zone: zone}, []Entry{
			{Time: time.Date(2016, 8, 3, 14, 25, 53, 0, time.UTC), Zoneless: true, Text: "startup archives install"}}, 0},
		{"x\n2024-01-02T03:04:05+0100 DEBUG a\n b\n", Options{}, []Entry{
			{Time: time.Date(2024, 1, 2, 2, 4, 5, 0, time.UTC), Severity: "DEBUG", Text: "a\n b", Offset: 2}}, 1},
		{yum, Options{Zone: zone, Years: years}, []Entry{
			{Time: time.Date(2024, 12, 31, 22, 0, 0, 0, time.UTC), Yearless: true, Zoneless: true, Text: "Installed: a-1.x86_64"},
			{Time: time.Date(2024, 12, 31, 23, 30, 0, 0, time.UTC), Yearless: true, Zoneless: true, Text: "Erased: b", Offset: 38}}, 0},
	} {
		var got []Entry
		errs := 0
		for e, err := range Lines(strings.NewReader(test.log), test.o) {
			if err != nil {
				errs++
				continue
			}
			got = append(got, e)
		}
		if len(got) != len(test.want) || errs != test.errs {
			t.Errorf("%q: %+v, %d errors", test.log, got, errs)
			continue
		}
		for i := range got {
			if got[i] != test.want[i] {
				t.Errorf("%q:\n got %+v\nwant %+v", test.log, got[i], test.want[i])
			}
		}
	}
}

func TestAptHistory(t *testing.T) {
	const log = `
Start-Date: 2024-01-02  03:04:05
Commandline: apt-get install -y nmap
Requested-By: eve (1000)
Install: nmap:amd64 (7.9), lua:amd64 (5.3, automatic)
Remove: auditd:amd64 (1:3)
End-Date: 2024-01-02  03:04:09

bad
Start-Date: 2024-01-02  04:00:00
Start-Date: never
Commandline: apt-get update
`
	var got []Entry
	errs := 0
	for e, err := range AptHistory(strings.NewReader(log), Options{}) {
		if err != nil {
			errs++
			continue
		}
		e.Offset = 0
		got = append(got, e)
	}
	at := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	run := Entry{Time: at, End: at.Add(4 * time.Second), Zoneless: true, CommandLine: "apt-get install -y nmap", Requester: "eve (1000)"}
	install, remove := run, run
	install.Command, install.Packages, install.Text = "Install", "nmap:amd64 (7.9), lua:amd64 (5.3, automatic)", "Install: nmap:amd64 (7.9), lua:amd64 (5.3, automatic)"
	remove.Command, remove.Packages, remove.Text = "Remove", "auditd:amd64 (1:3)", "Remove: auditd:amd64 (1:3)"
	if len(got) != 4 || errs != 2 || got[0] != install || got[1] != remove || got[2].Time.Hour() != 4 || got[3].CommandLine != "apt-get update" {
		t.Errorf("%+v, %d errors", got, errs)
	}
}

// TestCorpus reads the files of plaso's tests (apt_history.py, dpkg.py).
func TestCorpus(t *testing.T) {
	dir := needs.Corpora(t)
	var apt []Entry
	f, err := os.Open(filepath.Join(dir, "plaso/apt_history.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for e, err := range AptHistory(f, Options{}) {
		if err != nil {
			t.Error(err)
		}
		apt = append(apt, e)
	}
	if len(apt) != 10 { // as plaso
		t.Errorf("%d entries in apt_history.log", len(apt))
	}
	if e := apt[2]; e.Command != "Install" || e.CommandLine != "apt-get -y install python-pip python3-pip python-dev python3-dev git tmux screen joe" ||
		!e.Time.Equal(time.Date(2019, 7, 11, 12, 20, 55, 0, time.UTC)) || !e.End.Equal(time.Date(2019, 7, 11, 12, 21, 28, 0, time.UTC)) ||
		!strings.HasPrefix(e.Packages, "libmpc3:amd64 (1.0.3-1+b2, automatic), ") || !strings.HasSuffix(e.Packages, "liberror-perl:amd64 (0.17024-1, automatic)") {
		t.Errorf("%+v", e)
	}
	d, err := os.Open(filepath.Join(dir, "plaso/dpkg.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	n := 0
	for e, err := range Lines(d, Options{}) {
		if err != nil {
			t.Error(err)
		}
		if n++; n == 4 && (e.Text != "status half-installed base-passwd:amd64 3.5.33" || !e.Time.Equal(time.Date(2016, 8, 9, 4, 57, 14, 0, time.UTC))) {
			t.Errorf("%+v", e)
		}
	}
	if n != 4 {
		t.Errorf("%d entries in dpkg.log", n)
	}
}

func FuzzLogs(f *testing.F) {
	f.Add("Start-Date: 2024-01-02  03:04:05\nInstall: a\nEnd-Date: x\n\nDec 31 23:00:00 Installed: a\n2024-01-02T03:04:05+0100 DEBUG a\n\x00\x00b")
	f.Fuzz(func(t *testing.T, s string) {
		o := Options{Years: Survey(strings.NewReader(s))}
		o.Years.Begin(time.Unix(1_700_000_000, 0), time.UTC)
		for _, err := range Lines(strings.NewReader(s), o) {
			if err != nil && !errors.Is(err, evidence.ErrCorrupt) {
				t.Fatal(err)
			}
		}
		for _, err := range AptHistory(strings.NewReader(s), o) {
			if err != nil && !errors.Is(err, evidence.ErrCorrupt) {
				t.Fatal(err)
			}
		}
	})
}
