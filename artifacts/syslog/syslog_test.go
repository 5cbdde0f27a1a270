package syslog

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"lagan/artifacts/lines"
	"lagan/evidence"
	"lagan/internal/needs"
)

func readAll(t *testing.T, b []byte, last time.Time, zone *time.Location) (entries []Entry, failed []error) {
	t.Helper()
	r, done := lines.Unpack(bytes.NewReader(b))
	o := Options{Zone: zone, Years: Survey(r)}
	done()
	o.Years.Begin(last, zone)
	r, done = lines.Unpack(bytes.NewReader(b))
	defer done()
	for e, err := range Read(r, o) {
		if err != nil {
			failed = append(failed, err)
			continue
		}
		entries = append(entries, e)
	}
	return entries, failed
}

var march = time.Date(2015, 3, 12, 0, 0, 0, 0, time.UTC)

func TestUnderstand(t *testing.T) {
	const at = "Mar 11 10:00:00 node "
	for _, test := range []struct {
		line string
		want Entry
	}{
		{"sshd[7]: Accepted publickey for ec2-user from 203.0.113.77 port 51188 ssh2: ED25519 SHA256:1dV0Jr8N2F0kq0m8e1xkq6Jv4nYp1", Entry{
			Kind: SSHLogin, Username: "ec2-user", IP: "203.0.113.77", Port: "51188", Method: "publickey", Result: "success", Fingerprint: "SHA256:1dV0Jr8N2F0kq0m8e1xkq6Jv4nYp1"}},
		{"sshd[7]: Accepted publickey for a from 192.0.2.1 port 1 ssh2: RSA 00:aa:bb", Entry{
			Kind: SSHLogin, Username: "a", IP: "192.0.2.1", Port: "1", Method: "publickey", Result: "success", Fingerprint: "00:aa:bb"}},
		{"sshd-session[7]: Accepted password for root from 2001:db8::1 port 42532 ssh2", Entry{
			Kind: SSHLogin, Username: "root", IP: "2001:db8::1", Port: "42532", Method: "password", Result: "success"}},
		{"sshd[7]: Accepted keyboard-interactive/pam for root from 192.0.2.1 port 2 ssh2", Entry{
			Kind: SSHLogin, Username: "root", IP: "192.0.2.1", Port: "2", Method: "keyboard-interactive/pam", Result: "success"}},
		{"sshd[7]: Failed password for invalid user admin from 203.0.113.77 port 51022 ssh2", Entry{
			Kind: SSHFailed, Username: "admin", IP: "203.0.113.77", Port: "51022", Method: "password", Result: "failure"}},
		{"sshd[7]: Failed password for invalid user x from 6.6.6.6 port 1 ssh2 from 203.0.113.77 port 51022 ssh2", Entry{
			Kind: SSHFailed, Username: "x from 6.6.6.6 port 1 ssh2", IP: "203.0.113.77", Port: "51022", Method: "password", Result: "failure"}},
		{"sshd[7]: Failed none for invalid user  from 203.0.113.77 port 51022 ssh2", Entry{
			Kind: SSHFailed, IP: "203.0.113.77", Port: "51022", Method: "none", Result: "failure"}},
		{"sshd[7]: Invalid user admin from 203.0.113.77 port 51022", Entry{Kind: SSHFailed, Username: "admin", IP: "203.0.113.77", Port: "51022", Result: "failure"}},
		{"sshd[7]: Invalid user  from 203.0.113.77 port 51022", Entry{Kind: SSHFailed, IP: "203.0.113.77", Port: "51022", Result: "failure"}},
		{"sshd[7]: Invalid user admin from 203.0.113.77", Entry{Kind: SSHFailed, Username: "admin", IP: "203.0.113.77", Result: "failure"}},
		{"sshd[7]: Connection from 192.0.2.1 port 4 on 10.0.0.1 port 22 rdomain \"\"", Entry{Kind: SSHOpened, IP: "192.0.2.1", Port: "4"}},
		{"sshd[7]: Connection closed by authenticating user root 192.0.2.1 port 4 [preauth]", Entry{Username: "root", IP: "192.0.2.1", Port: "4"}},
		{"sshd[7]: Connection closed by 192.0.2.1 port 4", Entry{IP: "192.0.2.1", Port: "4"}},
		{"sshd[7]: Disconnected from user root 192.0.2.1 port 4", Entry{Username: "root", IP: "192.0.2.1", Port: "4"}},
		{"sshd[7]: Disconnected from invalid user a b 192.0.2.1 port 4 [preauth]", Entry{Username: "a b", IP: "192.0.2.1", Port: "4"}},
		{"sshd[7]: Received disconnect from 192.0.2.1 port 4:11: disconnected by user", Entry{IP: "192.0.2.1", Port: "4"}},
		{"sshd[7]: error: maximum authentication attempts exceeded for invalid user admin from 192.0.2.1 port 4 ssh2 [preauth]", Entry{
			Kind: SSHFailed, Username: "admin", IP: "192.0.2.1", Port: "4", Result: "failure"}},
		{"sshd[7]: pam_unix(sshd:session): session opened for user ec2-user(uid=1000) by (uid=0)", Entry{Username: "ec2-user"}},
		{"sshd[7]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1  user=root", Entry{
			Username: "root", IP: "192.0.2.1", Terminal: "ssh", Result: "failure"}},
		{"sshd[7]: Server listening on 0.0.0.0 port 22.", Entry{}},
		{"sudo[7]:     ec2-user : TTY=pts/0 ; PWD=/home/ec2-user ; USER=root ; COMMAND=/usr/bin/bash -c a ; b", Entry{
			Username: "ec2-user", Terminal: "pts/0", Directory: "/home/ec2-user", Command: "/usr/bin/bash -c a ; b", Method: "sudo", Result: "success"}},
		{"sudo[7]: eve : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh", Entry{
			Username: "eve", Terminal: "pts/0", Directory: "/", Command: "/bin/sh", Method: "sudo", Result: "failure"}},
		{"CRON[7]: (root) CMD (  cd / && run-parts /etc/cron.hourly)", Entry{Kind: CronTask, Username: "root", Command: "cd / && run-parts /etc/cron.hourly"}},
		{"CRON[7]: (CRON) INFO (Skipping @reboot jobs)", Entry{}},
	} {
		entries, failed := readAll(t, []byte(at+test.line+"\n"), march, time.UTC)
		if len(entries) != 1 || len(failed) > 0 {
			t.Errorf("%q: %d entries, %v", test.line, len(entries), failed)
			continue
		}
		got := entries[0]
		if got.Host != "node" || got.PID != 7 || !strings.HasPrefix(test.line, got.Reporter+"[7]: ") || !strings.HasSuffix(test.line, got.Text) {
			t.Errorf("%q: %+v", test.line, got)
		}
		got.Host, got.Reporter, got.PID, got.Text, got.Time, got.Yearless, got.Zoneless = "", "", 0, "", time.Time{}, false, false
		if got != test.want {
			t.Errorf("%q:\n got %+v\nwant %+v", test.line, got, test.want)
		}
	}
}

func TestForms(t *testing.T) {
	at := time.Date(2021, 3, 6, 4, 7, 38, 251122000, time.UTC)
	second := at.Truncate(time.Second)
	for _, test := range []struct {
		line string
		want Entry
	}{
		{`<15>1 2021-03-06T04:07:38.251122+00:00 host app 12 ID7 [x@1 a="b]\"" c="d"] text`, Entry{
			Time: at, Host: "host", Reporter: "app", PID: 12, ID: "ID7", Facility: "user", Severity: "DEBUG", Text: "text"}},
		{"<165>1 2021-03-06T05:07:38.251122+01:00 - - - - -", Entry{Time: at, Facility: "local4", Severity: "NOTICE"}},
		{"2021-03-06T04:07:38.251122Z host systemd[1]: Started x.", Entry{Time: at, Host: "host", Reporter: "systemd", PID: 1, Text: "Started x."}},
		{"2021-03-06T05:07:38.251122+0100 DEBUG kernel: [ 316.5] a", Entry{Time: at, Severity: "DEBUG", Reporter: "kernel", Text: "[ 316.5] a"}},
		{"2021-03-06 04:07:38,251 - util.py[WARNING]: Failed", Entry{
			Time: at.Truncate(time.Millisecond), Zoneless: true, Reporter: "util.py", Severity: "WARNING", Text: "Failed"}},
		{`time="2021-03-06T04:07:38.251122Z" level=error msg="a b" id=1`, Entry{Time: at, Severity: "ERROR", Text: `level=error msg="a b" id=1`}},
		{"E0306 04:07:38.251122    1234 kubelet.go:10] fell", Entry{
			Time: at, Yearless: true, Zoneless: true, Severity: "ERROR", Text: "1234 kubelet.go:10] fell"}},
		{"<30>Mar  6 04:07:38 host kernel: [1.0] text", Entry{
			Time: second, Yearless: true, Zoneless: true, Host: "host", Reporter: "kernel", Facility: "daemon", Severity: "INFO", Text: "[1.0] text"}},
		{"Mar 06 2021 04:07:38 kernel: x", Entry{Time: second, Zoneless: true, Reporter: "kernel", Text: "x"}},
		{"Mar  6 04:07:38: --- last message repeated 5 times ---", Entry{Time: second, Yearless: true, Zoneless: true, Text: "--- last message repeated 5 times ---"}},
	} {
		entries, failed := readAll(t, []byte(test.line), at.Add(time.Hour), time.UTC)
		if len(entries) != 1 || len(failed) > 0 || !reflect.DeepEqual(entries[0], test.want) {
			t.Errorf("%q: %v\n got %+v\nwant %+v", test.line, failed, entries, test.want)
		}
	}
}

func TestYears(t *testing.T) {
	berlin := time.FixedZone("CET", 3600)
	log := "Nov 30 10:00:00 h a: 1\nDec 31 23:59:59 h a: 2\nJan  1 00:00:00 h a: 3\nDec 31 23:59:59 h a: late\nFeb 29 01:00:00 h a: 4\n"
	entries, failed := readAll(t, []byte(log), time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC), berlin)
	var got []string
	for _, e := range entries {
		got = append(got, e.Time.Format(time.RFC3339))
	}
	want := []string{"2023-11-30T09:00:00Z", "2023-12-31T22:59:59Z", "2023-12-31T23:00:00Z", "2023-12-31T22:59:59Z", "2024-02-29T00:00:00Z"}
	if len(failed) > 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n got %v\nwant %v", failed, got, want)
	}
	entries, _ = readAll(t, []byte(log), time.Date(2023, 3, 1, 0, 0, 0, 0, time.UTC), time.UTC)
	if y := entries[4].Time.Year(); y != 2020 {
		t.Errorf("29 February in %d, when the file was written in 2023", y)
	}
	entries, _ = readAll(t, []byte("Dec 31 10:00:00 h a: 1\n"), time.Date(2024, 1, 5, 0, 0, 0, 0, time.UTC), time.UTC)
	if y := entries[0].Time.Year(); y != 2023 {
		t.Errorf("a line of December is in %d, when the file was written in January 2024", y)
	}
}

func TestBadLines(t *testing.T) {
	entries, failed := readAll(t, []byte("no time\nnone\nMar 11 10:00:00 h a: 1\n\tmore\nMar 99 10:00:00 h a: 2\n\x00\x00\x00\x00Mar 11 10:00:01 h a: 3\n"), march, time.UTC)
	if len(entries) != 2 || len(failed) != 2 || entries[0].Text != "1\n\tmore\nMar 99 10:00:00 h a: 2" || entries[1].Text != "3" {
		t.Errorf("%+v\n%v", entries, failed)
	}
}

// TestCorpus compares with what plaso's tests expect of its own files
// (tests/parsers/text_plugins/syslog.py).
func TestCorpus(t *testing.T) {
	dir := needs.Corpora(t)
	for _, test := range []struct {
		name              string
		entries, warnings int
		at                int
		want              Entry
	}{
		{"syslog/syslog", 16, 1, 0, Entry{Host: "myhostname.myhost.com", Reporter: "client", PID: 30840, Text: "INFO No new content in ímynd.dd.", Yearless: true, Zoneless: true}},
		{"syslog/syslog_chromeos", 8, 0, 0, Entry{Severity: "INFO", Reporter: "periodic_scheduler", PID: 13707, Text: "cleanup_logs: job completed"}},
		{"syslog/syslog_cron.log", 9, 0, 1, Entry{Kind: CronTask, Host: "osx-machine", Reporter: "CRON", PID: 3, Username: "root",
			Command: "sleep $(( 1 * 60 )); touch /tmp/afile.txt", Text: "(root) CMD (sleep $(( 1 * 60 )); touch /tmp/afile.txt)", Yearless: true, Zoneless: true}},
		{"syslog/syslog_osx", 2, 0, 0, Entry{Host: "osx-machine", Reporter: "kernel", Text: "AppleThunderboltNHIType2::prePCIWake - power up complete - took 1 us", Yearless: true, Zoneless: true}},
		{"syslog/syslog_rsyslog", 5, 0, 2, Entry{Host: "localhost", Reporter: "systemd", PID: 1, Text: "Reloaded System Logging Service."}},
		{"syslog/syslog_rsyslog_SyslogProtocol23Format", 9, 0, 0, Entry{Host: "hostname", Reporter: "log_tag", ID: "123", Facility: "user", Severity: "DEBUG", Text: "this is debug"}},
		{"syslog/syslog_rsyslog_SysklogdFileFormat", 9, 0, 0, Entry{Host: "hostname", Reporter: "log_tag", Text: "this is debug", Yearless: true, Zoneless: true}},
		{"syslog/syslog_rsyslog_traditional", 8, 0, 0, Entry{Host: "myhostname.myhost.com", Reporter: "Job", Text: "`cron.daily' terminated", Yearless: true, Zoneless: true}},
		{"syslog/syslog_ssh.log", 9, 0, 3, Entry{Kind: SSHFailed, Host: "ubuntu2015", Reporter: "sshd", PID: 3, Username: "plaso", IP: "001:db8:a0b:12f0::1", Port: "8759",
			Method: "publickey", Result: "failure", Text: "Failed publickey for plaso from 001:db8:a0b:12f0::1 port 8759", Yearless: true, Zoneless: true}},
		// These hold one shorter log.
		{"syslog_copy", 12, 1, 3, Entry{}}, {"syslog.gz", 12, 1, 3, Entry{}}, {"syslog.bz2", 12, 1, 3, Entry{}}, {"syslog.xz", 12, 1, 3, Entry{}},
	} {
		b, err := os.ReadFile(filepath.Join(dir, "plaso", test.name))
		if err != nil {
			t.Error(err)
			continue
		}
		entries, failed := readAll(t, b, march, time.UTC)
		if len(entries) != test.entries || len(failed) != test.warnings {
			t.Errorf("%s: %d entries and %v, where plaso has %d and %d warnings", test.name, len(entries), failed, test.entries, test.warnings)
		}
		if test.want == (Entry{}) || test.at >= len(entries) {
			continue
		}
		got := entries[test.at]
		got.Time, got.Offset = time.Time{}, 0
		if got != test.want {
			t.Errorf("%s:\n got %+v\nwant %+v", test.name, got, test.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{
		"Mar 11 10:00:00 h sshd[1]: Invalid user  from 1.2.3.4\nJan  1 00:00:00 x\n", "<15>1 2021-03-06T04:07:38.251122+00:00 h a 1 - [x y=\"\\]\"] z\n",
		"2021-03-06 04:07:38,251 - util.py[DEBUG]: x\n", "time=\"2021-03-06T04:07:38Z\" level=info\n", "E0306 04:07:38.251122 1 a.go:1] x\n", "MMM 11 10:00:00 x\n\x00\x00",
		"Feb 29 00:00:00 h sudo: a : COMMAND=x\n", "Mar 11 10:00:00 h sshd[1]: Disconnected from user  port 1\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, failed := readAll(t, b, march, time.UTC)
		for _, err := range failed {
			if !errors.Is(err, evidence.ErrCorrupt) && !errors.Is(err, evidence.ErrFormat) && !errors.Is(err, evidence.ErrUnsupported) {
				t.Fatal(err)
			}
		}
	})
}

func BenchmarkRead(b *testing.B) {
	line := "Mar 11 10:00:00 node sshd[2211]: Failed password for invalid user admin from 203.0.113.77 port 51022 ssh2\n"
	log := strings.Repeat(line, 10000)
	b.SetBytes(int64(len(log)))
	b.ReportAllocs()
	for b.Loop() {
		o := Options{Years: Survey(strings.NewReader(log))}
		o.Years.Begin(march, time.UTC)
		for _, err := range Read(strings.NewReader(log), o) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
