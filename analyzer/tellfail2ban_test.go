package analyzer

import (
	"testing"
	"time"

	"lagan/evidence/memfs"
)

func TestFail2ban(t *testing.T) {
	tree := memfs.New()
	set(tree.File("/var/log/fail2ban.log.1", "2026-10-01 12:00:02,500 fail2ban.actions        [812]: NOTICE  [sshd] Ban 203.0.113.7\n"), time.Date(2026, 10, 2, 0, 0, 0, 0, time.UTC))
	n := nodeOf(t, Options{}, tree)
	got := show(eventsOf(t, n, TimelineOptions{}), "data_type", "timestamp_desc", "message", "ip_address", "action", "rule")
	compare(t, n, got, []string{
		"linux:fail2ban:log:entry|Recorded Time|[fail2ban.actions] NOTICE [sshd] Ban 203.0.113.7|203.0.113.7|Ban|sshd",
	})
}
