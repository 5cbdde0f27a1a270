package utmp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/internal/needs"
)

// encode makes a record in a layout.
func (l *layout) encode(e Entry) []byte {
	b := make([]byte, l.size)
	l.order.PutUint16(b[offType:], uint16(e.Type))
	l.order.PutUint32(b[offPID:], uint32(e.PID))
	copy(b[offLine:offLine+lenLine], e.Terminal)
	copy(b[offID:offID+lenID], e.ID)
	copy(b[offUser:offUser+lenUser], e.User)
	copy(b[offHost:offHost+lenHost], e.Host)
	l.order.PutUint16(b[offExit+2:], uint16(e.Exit))
	rest := b[offRest:]
	for _, f := range []struct {
		size  int
		value int64
	}{{l.session, e.Session}, {l.seconds, e.Time.Unix()}, {l.seconds, int64(e.Time.Nanosecond() / 1000)}} {
		if f.size == 8 {
			l.order.PutUint64(rest, uint64(f.value))
		} else {
			l.order.PutUint32(rest, uint32(f.value))
		}
		rest = rest[f.size:]
	}
	if e.IP.Is4() {
		ip := e.IP.As4()
		copy(rest, ip[:])
	} else if e.IP.IsValid() {
		ip := e.IP.As16()
		copy(rest, ip[:])
	}
	return b
}

func readAll(b []byte) (out []Entry, failed []error) {
	for e, err := range Read(bytes.NewReader(b)) {
		if err != nil {
			failed = append(failed, err)
			continue
		}
		out = append(out, e)
	}
	return out, failed
}

func TestLayouts(t *testing.T) {
	for _, l := range layouts {
		want := []Entry{
			{Type: BootTime, Terminal: "~", ID: "~~", User: "reboot", Host: "6.1.0", Time: time.Date(2026, 1, 2, 3, 4, 5, 678000, time.UTC)},
			{Type: UserProcess, PID: 4711, Terminal: "pts/0", ID: "ts/0", User: "ec2-user", Host: "203.0.113.77", Session: 7, Exit: 3,
				Time: time.Date(2040, 1, 2, 3, 4, 5, 0, time.UTC), IP: netip.MustParseAddr("203.0.113.77"), Offset: int64(l.size)},
			{Type: UserProcess, PID: 1, Terminal: strings.Repeat("x", lenLine), User: strings.Repeat("y", lenUser),
				Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), IP: netip.MustParseAddr("2001:db8::1"), Offset: int64(2 * l.size)},
		}
		var b []byte
		for _, e := range want {
			b = append(b, l.encode(e)...)
		}
		got, failed := readAll(b)
		if len(failed) > 0 || len(got) != len(want) {
			t.Errorf("%s: %d records, %v", l.name, len(got), failed)
			continue
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s:\n got %+v\nwant %+v", l.name, got[i], want[i])
			}
		}
		bad := l.encode(want[1])
		l.order.PutUint16(bad, 99)
		got, failed = readAll(append(append(b, bad...), l.encode(want[1])[:100]...))
		if len(got) != 3 || len(failed) != 2 {
			t.Errorf("%s: %d records, %v", l.name, len(got), failed)
		}
	}
}

// TestCorpus reads the files of plaso's tests (tests/parsers/utmp.py).
func TestCorpus(t *testing.T) {
	dir := needs.Corpora(t)
	for _, test := range []struct {
		name          string
		entries, errs int
		at            int
		want          Entry
		number        uint32
	}{
		{"utmp", 14, 0, 2, Entry{Type: LoginProcess, PID: 1115, Terminal: "tty4", ID: "4", User: "LOGIN", Time: time.Date(2013, 12, 13, 14, 45, 9, 0, time.UTC)}, 52},
		{"utmp", 14, 0, 12, Entry{Type: UserProcess, PID: 2684, Terminal: "pts/4", ID: "/4", User: "moxilo", Host: ":0",
			Time: time.Date(2013, 12, 18, 22, 46, 56, 305504000, time.UTC)}, 13359},
		{"wtmp.1", 4, 1, 0, Entry{Type: UserProcess, PID: 20060, Terminal: "pts/32", ID: "s/12", User: "userA", Host: "10.10.122.1",
			Time: time.Date(2011, 12, 1, 17, 36, 38, 432935000, time.UTC), IP: netip.MustParseAddr("10.10.122.1")}, 842084211},
		{"utmp_x86_64", 6, 0, 2, Entry{Type: BootTime, PID: 19, Terminal: "system boot", ID: "~", User: "reboot", Host: "0.0.0.0",
			Time: time.Date(2026, 7, 3, 14, 58, 29, 0, time.UTC), IP: netip.MustParseAddr("4.3.2.1")}, '~'},
		{"utmp_corrupted", 2, 3, 1, Entry{Type: UserProcess, PID: 3003, Terminal: "pts/0", User: "bob", Host: "10.0.0.5",
			Time: time.Date(2023, 11, 14, 22, 46, 40, 0, time.UTC), IP: netip.MustParseAddr("10.0.0.5")}, 0},
	} {
		b, err := os.ReadFile(filepath.Join(dir, "plaso/utmp", test.name))
		if err != nil {
			t.Error(err)
			continue
		}
		got, failed := readAll(b)
		if len(got) != test.entries || len(failed) != test.errs {
			t.Errorf("%s: %d records, %v", test.name, len(got), failed)
			continue
		}
		e := got[test.at]
		if n := e.TerminalNumber(); n != test.number {
			t.Errorf("%s: terminal identifier %d, not %d", test.name, n, test.number)
		}
		e.Offset, e.Session, e.Exit, e.Termination = 0, 0, 0, 0
		if e != test.want {
			t.Errorf("%s:\n got %+v\nwant %+v", test.name, e, test.want)
		}
	}
	for _, name := range []string{"utmp_aarch64", "utmp_s390"} { // the same as utmp_x86_64, written on other machines
		b, err := os.ReadFile(filepath.Join(dir, "plaso/utmp", name))
		if err != nil {
			t.Error(err)
			continue
		}
		got, failed := readAll(b)
		if len(got) != 6 || len(failed) > 0 || got[2].User != "reboot" || got[2].Time.Year() != 2026 {
			t.Errorf("%s: %+v, %v", name, got, failed)
		}
	}
}

// TestUtmpdump compares with the real tool, on records of every kind.
func TestUtmpdump(t *testing.T) {
	tool := needs.Tool(t, "utmpdump")
	var b []byte
	for i := range 200 {
		e := Entry{Type: i % 10, PID: i * 7, Terminal: "pts/" + strconv.Itoa(i), ID: strconv.Itoa(i), User: "user" + strconv.Itoa(i), Host: "host" + strconv.Itoa(i),
			Time: time.Unix(1_700_000_000+int64(i)*100_000, int64(i)*1000).UTC(), IP: netip.AddrFrom4([4]byte{10, 0, byte(i), 1})}
		b = append(b, layouts[0].encode(e)...)
	}
	path := filepath.Join(t.TempDir(), "wtmp")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	dump, err := exec.Command(tool, path).Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(dump)), "\n")
	got, failed := readAll(b)
	if len(lines) != len(got) || len(failed) > 0 {
		t.Fatalf("utmpdump has %d lines, we %d entries and %v", len(lines), len(got), failed)
	}
	for i, e := range got {
		f := strings.Split(strings.Trim(lines[i], "[]"), "] [")
		for k := range f {
			f[k] = strings.TrimSpace(f[k])
		}
		pid, _ := strconv.Atoi(f[1])
		at, err := time.Parse("2006-01-02T15:04:05,000000-07:00", f[7])
		if err != nil || f[0] != strconv.Itoa(e.Type) || pid != e.PID || f[2] != e.ID || f[3] != e.User || f[4] != e.Terminal || f[5] != e.Host ||
			f[6] != e.IP.String() || !at.Equal(e.Time) {
			t.Errorf("utmpdump %q, we %+v", lines[i], e)
		}
	}
}

func TestLastlog(t *testing.T) {
	for _, size := range []int{lastlogSize32, lastlogSize64} {
		b := make([]byte, size*1001)
		put := func(uid int, sec uint64, terminal, host string) {
			r := b[uid*size:]
			head := size - lenLine - lenHost
			binary.LittleEndian.PutUint32(r, uint32(sec))
			if head == 8 {
				binary.LittleEndian.PutUint64(r, sec)
			}
			copy(r[head:], terminal)
			copy(r[head+lenLine:], host)
		}
		put(0, 1_700_000_000, "tty1", "")
		put(1000, 1_700_000_001, "pts/0", "203.0.113.77")
		var got []LastLogin
		for l, err := range Last(bytes.NewReader(b), int64(len(b)), []uint32{0, 1000, 70000}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, l)
		}
		if len(got) != 2 || got[0].Terminal != "tty1" || got[1].UID != 1000 || got[1].Host != "203.0.113.77" || got[1].Time.Unix() != 1_700_000_001 {
			t.Errorf("%d: %+v", size, got)
		}
	}
}

// sparse is a file that is one hole but for a record.
type sparse struct {
	off    int64
	record []byte
	reads  int
}

func (s *sparse) ReadAt(p []byte, off int64) (int, error) {
	s.reads++
	clear(p)
	if off == s.off {
		copy(p, s.record)
	}
	return len(p), nil
}

func TestLastlogOfHugeNumbers(t *testing.T) {
	const uid = 4_000_000_000
	s := &sparse{off: uid * lastlogSize32, record: binary.LittleEndian.AppendUint32(nil, 1_700_000_000)}
	n := 0
	for l, err := range Last(s, (uid+1)*lastlogSize32, []uint32{uid}) {
		if err != nil || l.UID != uid {
			t.Fatal(l, err)
		}
		n++
	}
	if n != 1 || s.reads > firstUsers+2000 {
		t.Errorf("%d records, %d reads", n, s.reads)
	}
}

func FuzzRead(f *testing.F) {
	e := Entry{Type: UserProcess, User: "a", Time: time.Unix(1_700_000_000, 0)}
	for _, l := range layouts {
		f.Add(append(l.encode(e), l.encode(e)[:50]...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, failed := readAll(b)
		for _, err := range failed {
			if !errors.Is(err, evidence.ErrCorrupt) {
				t.Fatal(err)
			}
		}
		for _, err := range Last(bytes.NewReader(b), int64(len(b)), []uint32{0, 1 << 31}) {
			if err != nil && !errors.Is(err, evidence.ErrCorrupt) {
				t.Fatal(err)
			}
		}
	})
}

// TestLast compares with what last tells of logins, the newest first.
func TestLast(t *testing.T) {
	tool := needs.Tool(t, "last")
	const userProcess, deadProcess = 7, 8
	var b []byte
	for i := range 60 {
		e := Entry{Type: userProcess, PID: 100 + i, Terminal: "pts/" + strconv.Itoa(i), ID: strconv.Itoa(i), User: "user" + strconv.Itoa(i), Host: "host" + strconv.Itoa(i),
			Time: time.Unix(1_700_000_000+int64(i)*100_000, int64(i)*1000).UTC()}
		b = append(b, layouts[0].encode(e)...)
		e.Type, e.User, e.Host, e.Time = deadProcess, "", "", e.Time.Add(10*time.Minute)
		b = append(b, layouts[0].encode(e)...)
	}
	path := filepath.Join(t.TempDir(), "wtmp")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tool, "-w", "--time-format", "iso", "-f", path)
	cmd.Env = append(os.Environ(), "TZ=UTC")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Split(string(out), "\n")
	got, failed := readAll(b)
	if len(failed) > 0 {
		t.Fatal(failed)
	}
	n := 0
	for _, e := range slices.Backward(got) {
		if e.TypeName() != "USER_PROCESS" {
			continue
		}
		want := []string{e.User, e.Terminal, e.Host, e.Time.Format("2006-01-02T15:04:05+00:00"), "-", e.Time.Add(10 * time.Minute).Format("2006-01-02T15:04:05+00:00")}
		if f := strings.Fields(said[n]); len(f) < len(want) || !slices.Equal(f[:len(want)], want) {
			t.Errorf("last says %q, we %q", said[n], want)
		}
		n++
	}
	if n != 60 {
		t.Errorf("%d logins", n)
	}
}
