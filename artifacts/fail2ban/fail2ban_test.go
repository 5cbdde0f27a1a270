package fail2ban

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"lagan/evidence"
)

// sample has lines of the forms that fail2ban 0.8, 0.9, 0.10 and 1.0 write.
const sample = `2026-10-01 12:00:00,123 fail2ban.server         [812]: INFO    --------------------------------------------------
2026-10-01 12:00:00,200 fail2ban.jail           [812]: INFO    Jail 'sshd' started
2026-10-01 12:00:01,000 fail2ban.filter         [812]: INFO    [sshd] Found 203.0.113.7 - 2026-10-01 11:59:59
2026-10-01 12:00:02,500 fail2ban.actions        [812]: NOTICE  [sshd] Ban 203.0.113.7
2026-10-01 12:00:03,000 fail2ban.actions        [812]: WARNING [sshd] 203.0.113.7 already banned
2026-10-01 12:00:04,000 fail2ban.utils          [812]: ERROR   7f0c -- exec: iptables -w -N f2b-sshd
Traceback (most recent call last):
  File "x.py", line 1
2026-10-01 12:10:02,501 fail2ban.actions        [812]: NOTICE  [sshd] Unban 2001:db8::1
2026-10-01 12:11:00,000 fail2ban.actions        [900]: NOTICE  [sshd] Restore Ban 198.51.100.2
2013-05-06 07:08:09,010 fail2ban.actions: WARNING [ssh] Ban 192.0.2.9
2026-10-01 12:12:00,000 fail2ban.actions        [900]: NOTICE  [sshd] Ban not-an-address
`

func TestRead(t *testing.T) {
	zone := time.FixedZone("x", 7200)
	var got strings.Builder
	for e, err := range Read(strings.NewReader(sample), zone) {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(sample[e.Offset:], "20") {
			t.Errorf("%+v begins in the middle of a line", e)
		}
		ip := ""
		if e.IP.IsValid() {
			ip = e.IP.String()
		}
		fmt.Fprintln(&got, strings.Join([]string{e.Time.Format("2006-01-02T15:04:05.000"), e.Part, fmt.Sprint(e.PID), e.Severity, e.Jail, e.Action, ip}, "|"))
	}
	want := `2026-10-01T10:00:00.123|server|812|INFO|||
2026-10-01T10:00:00.200|jail|812|INFO|||
2026-10-01T10:00:01.000|filter|812|INFO|sshd|Found|203.0.113.7
2026-10-01T10:00:02.500|actions|812|NOTICE|sshd|Ban|203.0.113.7
2026-10-01T10:00:03.000|actions|812|WARNING|sshd|already banned|203.0.113.7
2026-10-01T10:00:04.000|utils|812|ERROR|||
2026-10-01T10:10:02.501|actions|812|NOTICE|sshd|Unban|2001:db8::1
2026-10-01T10:11:00.000|actions|900|NOTICE|sshd|Restore Ban|198.51.100.2
2013-05-06T05:08:09.010|actions|0|WARNING|ssh|Ban|192.0.2.9
2026-10-01T10:12:00.000|actions|900|NOTICE|sshd||
`
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

func TestOther(t *testing.T) {
	for _, s := range []string{"nothing of the kind\n", "2026-10-01 12:00:00,123 sshd[1]: x\n"} {
		n := 0
		for _, err := range Read(strings.NewReader(s), time.UTC) {
			if n++; !errors.Is(err, evidence.ErrFormat) {
				t.Errorf("%q: %v", s, err)
			}
		}
		if n != 1 {
			t.Errorf("%q: %d entries", s, n)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(sample)
	f.Fuzz(func(t *testing.T, s string) {
		for e, err := range Read(strings.NewReader(s), time.UTC) {
			if err == nil && (e.Action != "") != e.IP.IsValid() {
				t.Errorf("%+v", e)
			}
		}
	})
}
