package audit

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/internal/needs"
)

// sample has events whose records mix, encoded values, sockets, a program's
// message, and an argument in parts.
const sample = `type=SYSCALL msg=audit(1700000000.100:10): arch=c000003e syscall=59 success=yes exit=0 a0=55 a1=66 a2=77 a3=8 items=2 ppid=100 pid=101 auid=1000 uid=0 gid=0 euid=0 suid=0 fsuid=0 egid=0 sgid=0 fsgid=0 tty=pts0 ses=3 comm="cat" exe="/usr/bin/cat" key="exec"
type=SYSCALL msg=audit(1700000000.100:11): arch=c00000b7 syscall=203 success=no exit=-111 a0=3 a1=7f a2=10 a3=0 items=0 ppid=100 pid=202 auid=1000 uid=33 gid=33 euid=33 suid=33 fsuid=33 egid=33 sgid=33 fsgid=33 tty=(none) ses=4294967295 comm="sh" exe="/bin/dash" key=(null)
type=EXECVE msg=audit(1700000000.100:10): argc=4 a0="cat" a1=2F746D702F6120622E747874 a2_len=12 a2[0]=2D2D6C6F6E67 a2[1]=2061726773 a3="/etc/shadow"
type=SOCKADDR msg=audit(1700000000.100:11): saddr=020001BBC63364070000000000000000
type=CWD msg=audit(1700000000.100:10): cwd=2F746D702F666F6C646572206F6E65
type=PATH msg=audit(1700000000.100:10): item=0 name="/usr/bin/cat" inode=123 dev=08:01 mode=0100755 ouid=0 ogid=0 rdev=00:00 nametype=NORMAL cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0
type=PROCTITLE msg=audit(1700000000.100:10): proctitle=636174002F746D702F6120622E747874
type=PROCTITLE msg=audit(1700000000.100:11): proctitle="sh"
type=EOE msg=audit(1700000000.100:10):
type=EOE msg=audit(1700000000.100:11):
type=USER_AUTH msg=audit(1700000001.000:12): pid=300 uid=0 auid=4294967295 ses=4294967295 msg='op=PAM:authentication grantors=? acct="mallory" exe="/usr/sbin/sshd" hostname=203.0.113.9 addr=203.0.113.9 terminal=ssh res=failed'
type=USER_CMD msg=audit(1700000002.000:13): pid=301 uid=1000 auid=1000 ses=3 msg='cwd="/home/core" cmd=636174202F6574632F736861646F77 exe="/usr/bin/sudo" terminal=pts/0 res=success'
node=worker1 type=ANOM_PROMISCUOUS msg=audit(1700000010.250:14): dev=eth0 prom=256 old_prom=0 auid=1000 uid=0 gid=0 ses=3
`

func all(t *testing.T, text string) (out []Event, errs []error) {
	t.Helper()
	for e, err := range Read(strings.NewReader(text)) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, e)
	}
	return out, errs
}

func TestRead(t *testing.T) {
	events, errs := all(t, sample)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if len(events) != 5 {
		t.Fatalf("%d events", len(events))
	}
	for i, want := range []struct {
		typ, call, success, command, user, ip, port, cwd, node string
		serial                                                 uint64
		pid, records                                           int
	}{
		{typ: "SYSCALL", call: "execve", success: "yes", command: "cat /tmp/a b.txt --long args /etc/shadow", cwd: "/tmp/folder one", serial: 10, pid: 101, records: 5},
		{typ: "SYSCALL", call: "connect", success: "no", command: "sh", ip: "198.51.100.7", port: "443", serial: 11, pid: 202, records: 3},
		{typ: "USER_AUTH", success: "failed", user: "mallory", ip: "203.0.113.9", serial: 12, pid: 300, records: 1},
		{typ: "USER_CMD", success: "success", command: "cat /etc/shadow", cwd: "/home/core", serial: 13, pid: 301, records: 1},
		{typ: "ANOM_PROMISCUOUS", node: "worker1", serial: 14, records: 1},
	} {
		e := events[i]
		ip, port := e.Address()
		if e.Type() != want.typ || e.SystemCall() != want.call || e.Success() != want.success || e.Command() != want.command || e.User() != want.user ||
			ip != want.ip || port != want.port || e.Get("cwd") != want.cwd || e.Node != want.node || e.Serial != want.serial || e.PID() != want.pid || len(e.Records) != want.records {
			t.Errorf("event %d: %s %q %q %q %q %q %q %q %q %d %d %d", i, e.Type(), e.SystemCall(), e.Success(), e.Command(), e.User(), ip, port, e.Get("cwd"), e.Node, e.Serial, e.PID(), len(e.Records))
		}
	}
	if want := time.Unix(1700000010, 250e6).UTC(); !events[4].Time.Equal(want) {
		t.Errorf("time %v", events[4].Time)
	}
	if got := events[3].Records[0].Text; got != `pid=301 uid=1000 auid=1000 ses=3 msg='cwd="/home/core" cmd="cat /etc/shadow" exe="/usr/bin/sudo" terminal=pts/0 res=success'` {
		t.Errorf("text %s", got)
	}
	if got := events[0].Text(); !strings.HasPrefix(got, "SYSCALL: arch=c000003e") || !strings.Contains(got, ` | CWD: cwd="/tmp/folder one" | PATH: `) {
		t.Errorf("text %s", got)
	}
}

func TestBadLines(t *testing.T) {
	for _, line := range []string{
		"type=WRONGDATE msg=audit(1337845201): text", "type=EMPTYDATE msg=audit(): text", "type= msg=audit(1337845333.174:1): text", "msg=audit(1337845201.174:1): text",
		"type=A msg=audit(1.1:1", "type=A msg=audit(99999999999999999.1:1): x", "type=A msg=audit(1.1111111111:1): x", "Jan  1 00:00:00 host sshd[1]: x", "node=x", "type=A B msg=audit(1.1:1): x",
	} {
		events, errs := all(t, line)
		if len(events) != 0 || len(errs) != 1 || !errors.Is(errs[0], evidence.ErrCorrupt) {
			t.Errorf("%q: %v, %v", line, events, errs)
		}
	}
	if events, errs := all(t, "\n\ntype=EOE msg=audit(1.1:1):\n"); len(events)+len(errs) != 0 {
		t.Errorf("%v, %v", events, errs)
	}
}

func TestBounds(t *testing.T) {
	records := strings.Repeat("type=PATH msg=audit(1.1:1): name=\"x\"\n", 3*maxRecords)
	events, _ := all(t, records)
	if len(events) != 3 {
		t.Errorf("%d events of many records", len(events))
	}
	events, _ = all(t, "type=EXECVE msg=audit(1.1:1): "+strings.Repeat("a1=41 ", 2*maxFields))
	if n := len(events[0].Records[0].Fields); n != maxFields {
		t.Errorf("%d fields", n)
	}
}

// TestPlaso reads plaso's test files: its tests expect 7 lines and 4 warnings
// of the first, 29 lines of the second (tests/parsers/text_plugins/selinux.py).
func TestPlaso(t *testing.T) {
	dir := needs.Corpora(t)
	for _, test := range []struct {
		name           string
		records, wrong int
	}{{"selinux.log", 7, 4}, {"audit_enriched.log", 29, 0}} {
		b, err := os.ReadFile(filepath.Join(dir, "plaso", test.name))
		if err != nil {
			t.Fatal(err)
		}
		events, errs := all(t, string(b))
		n := 0
		for _, e := range events {
			n += len(e.Records)
		}
		if n != test.records || len(errs) != test.wrong {
			t.Errorf("%s: %d records, %d errors: %v", test.name, n, len(errs), errs)
		}
	}
}

var interpreted = regexp.MustCompile(`(?m)^(?:node=\S+ )?type=(\S+) msg=audit\(([^)]*)\) ?: ?(.*)$`)

// TestAusearch compares with ausearch -i: the same events of the same records,
// the same system calls, titles, folders and addresses.
func TestAusearch(t *testing.T) {
	program := needs.Tool(t, "ausearch")
	logs := []string{sample}
	if dir := os.Getenv("LAGAN_CORPORA"); dir != "" {
		if b, err := os.ReadFile(filepath.Join(dir, "plaso", "audit_enriched.log")); err == nil {
			logs = append(logs, string(b))
		}
	}
	for _, text := range logs {
		file := filepath.Join(t.TempDir(), "audit.log")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program, "-i", "-if", file)
		cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		theirs := make(map[string][]string) // by type and stamp
		for _, block := range strings.Split(string(out), "----\n") {
			for _, m := range interpreted.FindAllStringSubmatch(block, -1) {
				key := m[1] + " " + m[2] + item(m[3])
				theirs[key] = append(theirs[key], m[3])
			}
		}
		events, _ := all(t, text)
		compared := 0
		for _, e := range events {
			for _, r := range e.Records {
				key := r.Type + e.Time.Format(" 01/02/06 15:04:05.000") + ":" + strconv.FormatUint(e.Serial, 10) + item(r.Text)
				if len(theirs[key]) == 0 {
					t.Errorf("ausearch has no %s; it has %d others", key, len(theirs))
					continue
				}
				want := theirs[key][0]
				theirs[key] = theirs[key][1:]
				compared++
				agree(t, &e, &r, want)
			}
		}
		for key, left := range theirs {
			if len(left) > 0 && !strings.HasPrefix(key, "EOE") {
				t.Errorf("ausearch also has %s: %s", key, left)
			}
		}
		t.Logf("%d records", compared)
	}
}

// item is the number of a PATH: ausearch prints them in another order.
func item(text string) string {
	word, _, _ := strings.Cut(text, " ")
	if strings.HasPrefix(word, "item=") {
		return " " + word
	}
	return ""
}

func agree(t *testing.T, e *Event, r *Record, want string) {
	t.Helper()
	has := func(s string) {
		if !strings.Contains(want+" ", s+" ") {
			t.Errorf("%q is not in %q", s, want)
		}
	}
	switch r.Type {
	case "SYSCALL":
		has("syscall=" + e.SystemCall())
		has("exe=" + r.Get("exe"))
		has("success=" + r.Get("success"))
	case "PROCTITLE":
		has("proctitle=" + r.Get("proctitle"))
	case "CWD":
		has("cwd=" + r.Get("cwd"))
	case "PATH":
		has("name=" + r.Get("name"))
	case "USER_CMD":
		has("cmd=" + r.Get("cmd"))
	case "SOCKADDR":
		ip, port := e.Address()
		has("laddr=" + ip)
		has("lport=" + port)
	case "EXECVE":
		has("a0=" + r.Get("a0"))
	}
}

func FuzzRead(f *testing.F) {
	f.Add(sample)
	f.Add("type=LOGIN msg=audit(1.1:1): a=b\x1dUID=\"root\" AUID=\"x\"")
	f.Add("type=A msg=audit(1.1:1): msg='a=41 b=\"c'd' saddr=0A00")
	f.Fuzz(func(t *testing.T, text string) {
		n := 0
		for e, err := range Read(strings.NewReader(text)) {
			if err != nil {
				if !errors.Is(err, evidence.ErrCorrupt) && !errors.Is(err, evidence.ErrUnsupported) {
					t.Fatal(err)
				}
				continue
			}
			n += len(e.Records)
			e.Text()
			e.Command()
			e.Address()
			e.SystemCall()
			e.Success()
			e.User()
		}
		if n > strings.Count(text, "\n")+1 {
			t.Fatalf("%d records", n)
		}
	})
}
