package timeline

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestTLN is the event of plaso's own test of the format (tests/output/tln.py).
func TestTLN(t *testing.T) {
	got := string(write(t, TLN, Options{}, func(add func(*Record)) {
		var r Record
		r.Reset(SyslogLine, nil)
		r.String(FieldHostname, "ubuntu")
		r.Time(Recorded, time.Date(2012, 6, 27, 18, 17, 1, 0, time.UTC))
		r.String(FieldUsername, "root")
		r.String(FieldMessage, "Reporter <CRON> PID: |8442| (pam_unix(cron:session): session\n closed for user root)")
		add(&r)
		r.Reset(FSStat, nil)
		r.Time(Modified, time.Date(1969, 12, 31, 23, 59, 59, 999_999_700, time.UTC))
		r.String(FieldMessage, "\x1b[2J|")
		add(&r)
	}))
	want := `Time|Source|Host|User|Description
0|FILE|-|-|1970-01-01T00:00:00.000000+00:00; Content Modification Time; \x1b[2J 
1340821021|LOG|ubuntu|root|2012-06-27T18:17:01.000000+00:00; Recorded Time; Reporter <CRON> PID:  8442  (pam_unix(cron:session): session  closed for user root)
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for i, line := range strings.Split(strings.TrimSuffix(string(write(t, TLN, Options{}, story)), "\n"), "\n") {
		fields := strings.Split(line, "|")
		if len(fields) != 5 {
			t.Fatalf("%d fields in %q", len(fields), line)
		}
		if _, err := strconv.ParseInt(fields[0], 10, 64); err != nil && i > 0 {
			t.Errorf("%q: %v", line, err)
		}
	}
	for _, name := range hostileNames() {
		b := write(t, TLN, Options{}, func(add func(*Record)) {
			var r Record
			r.Reset(FSStat, nil)
			r.String(FieldUsername, name)
			r.String(FieldMessage, name)
			r.Time(Modified, time.Unix(1, 0))
			add(&r)
		})
		if bytes.Count(b, []byte("\n")) != 2 || bytes.Count(b, []byte("|")) != 8 {
			t.Errorf("%q makes %q", name, b)
		}
	}
}

// TestNewDataType adds a kind as a log's own file does.
func TestNewDataType(t *testing.T) {
	k := NewDataType("test:kind", "LOG", "Test")
	if k.String() != "test:kind" || DataType(250).String() != "lagan:record" {
		t.Errorf("%s, %s", k, DataType(250))
	}
	if got, err := ParseKinds([]string{"test:*"}); err != nil || len(got) != 1 || got[0] != k {
		t.Errorf("%v, %v", got, err)
	}
}
