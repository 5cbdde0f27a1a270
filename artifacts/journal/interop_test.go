package journal

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"lagan/internal/needs"

	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// remote is where Debian and Fedora have the program that writes journals
// from the export format.
const remote = "/usr/lib/systemd/systemd-journal-remote"

// export makes entries in systemd's export format.
func export(entries int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	field := func(name, value string) {
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' }) || !isText(value) {
			b.WriteString(name + "\n")
			b.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(value))))
			b.WriteString(value + "\n")
			return
		}
		b.WriteString(name + "=" + value + "\n")
	}
	messages := []string{"short", strings.Repeat("x", 600), strings.Repeat("abc ", 3000), "a\nb\tc", "\x1b[31mred", strings.Repeat("é ü 漢字 ", 50), "bad \xff\xfe bytes"}
	at := int64(1_700_000_000_000_000)
	for n := range entries {
		at += 1 + rng.Int64N(5_000_000)
		fmt.Fprintf(&b, "__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=0123456789abcdef0123456789abcdef\n", at, at-1_699_999_999_000_000)
		field("PRIORITY", strconv.Itoa(n%8))
		field("SYSLOG_IDENTIFIER", []string{"sshd", "kubelet", "dockerd"}[n%3])
		field("_PID", strconv.Itoa(rng.IntN(3000)))
		field("_CMDLINE", "/usr/sbin/sshd -D")
		field("_SYSTEMD_UNIT", "ssh.service")
		field("_HOSTNAME", "node1")
		field("MESSAGE", fmt.Sprintf("line %d %s", n, messages[rng.IntN(len(messages))]))
		if n%10 == 0 {
			field("CONTAINER_ID_FULL", strings.Repeat("ab", 32))
			field("CONTAINER_NAME", "web")
		}
		if n%50 == 0 {
			field("MANY", "a")
			field("MANY", "b")
		}
		if n == entries/2 {
			field("BIG", strings.Repeat("z", 300_000))
		}
		b.WriteString("\n")
	}
	return b.Bytes()
}

func isText(s string) bool { return s == strings.ToValidUTF8(s, "") }

// write makes a journal with the real writer.
func write(t *testing.T, in []byte, compact, keyed, compress bool) []byte {
	t.Helper()
	program := needs.Tool(t, remote)
	file := filepath.Join(t.TempDir(), "out.journal")
	bit := func(b bool) string { return map[bool]string{true: "1", false: "0"}[b] }
	cmd := exec.Command(program, "--compress="+bit(compress), "--output="+file, "-")
	cmd.Env = append(os.Environ(), "SYSTEMD_JOURNAL_COMPACT="+bit(compact), "SYSTEMD_JOURNAL_KEYED_HASH="+bit(keyed))
	cmd.Stdin = bytes.NewReader(in)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("%v: %s", err, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// repack compresses the payloads of an uncompressed journal in place, as a
// writer of another build of systemd would have. What becomes free after a
// payload is made an unused field, so that objects follow each other.
func repack(t *testing.T, b []byte, flag byte) int {
	t.Helper()
	j, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	payload := uint64(dataPayload)
	if j.Compact() {
		payload = dataPayloadIn32
	}
	packed := 0
	for off := j.headerSize; off+objectHeader < uint64(len(b)); {
		o, err := j.r.object(off)
		if err != nil {
			break
		}
		next := off + (o.size+7)&^7
		if o.typ == objData && o.size-payload >= 512 {
			z := compress(t, b[off+payload:off+o.size], flag)
			end := off + (payload+uint64(len(z))+7)&^7
			if end+40 <= next {
				clear(b[off+payload : next])
				copy(b[off+payload:], z)
				b[off+1] = flag
				binary.LittleEndian.PutUint64(b[off+8:], payload+uint64(len(z)))
				b[end] = objField
				binary.LittleEndian.PutUint64(b[end+8:], next-end)
				packed++
			}
		}
		off = next
	}
	b[12] |= flag // the header's bits of xz and lz4 are those of objects
	return packed
}

func compress(t *testing.T, in []byte, flag byte) []byte {
	t.Helper()
	if flag == packedLZ4 {
		out := make([]byte, lz4.CompressBlockBound(len(in)))
		n, err := lz4.CompressBlock(in, out, nil)
		if err != nil {
			t.Fatal(err)
		}
		return append(binary.LittleEndian.AppendUint64(nil, uint64(len(in))), out[:n]...)
	}
	var out bytes.Buffer
	w, err := xz.WriterConfig{DictCap: lzma.MinDictCap, CheckSum: xz.CRC32}.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(in); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// flat is an entry as both sides say it: name=value, sorted.
type flat struct {
	realtime, monotonic string
	fields              []string
}

func ours(t *testing.T, b []byte) (out []flat) {
	t.Helper()
	j, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range j.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		if e.Unlinked {
			t.Errorf("entry at %#x is not linked", e.Offset)
		}
		f := flat{realtime: strconv.FormatInt(e.Realtime.UnixMicro(), 10), monotonic: strconv.FormatInt(e.Monotonic.Microseconds(), 10)}
		if got := string(e.Get("_BOOT_ID")); got != hex.EncodeToString(e.BootID[:]) {
			t.Errorf("_BOOT_ID %q, the entry says %x", got, e.BootID)
		}
		for _, x := range e.Fields {
			f.fields = append(f.fields, x.Name+"="+string(x.Value))
		}
		slices.Sort(f.fields)
		f.fields = slices.Compact(f.fields)
		out = append(out, f)
	}
	return out
}

// theirs asks journalctl.
func theirs(t *testing.T, b []byte) (out []flat) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "in.journal")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := exec.Command(needs.Tool(t, "journalctl"), "--file", file, "-o", "json", "--all").Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) { // it fails at some damage, after what it shows
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var m map[string]any
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		f := flat{realtime: m["__REALTIME_TIMESTAMP"].(string), monotonic: m["__MONOTONIC_TIMESTAMP"].(string)}
		for k, v := range m {
			if strings.HasPrefix(k, "__") {
				continue
			}
			for _, s := range values(v) {
				f.fields = append(f.fields, k+"="+s)
			}
		}
		slices.Sort(f.fields)
		out = append(out, f)
	}
	return out
}

// values undoes journalctl's JSON: text, an array of bytes, or an array of these.
func values(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		if _, isBytes := v[0].(float64); isBytes {
			b := make([]byte, len(v))
			for i := range v {
				b[i] = byte(v[i].(float64))
			}
			return []string{string(b)}
		}
		var out []string
		for _, x := range v {
			out = append(out, values(x)...)
		}
		return out
	}
	return []string{fmt.Sprint(v)}
}

// TestJournalctl compares every entry of journals of each kind with what
// journalctl says of them.
func TestJournalctl(t *testing.T) {
	needs.Tool(t, "journalctl")
	in := export(400)
	for _, compact := range []bool{false, true} {
		for _, keyed := range []bool{false, true} {
			plain := write(t, in, compact, keyed, false)
			for _, pack := range []string{"none", "zstd", "lz4", "xz"} {
				t.Run(fmt.Sprintf("compact=%t,keyed=%t,%s", compact, keyed, pack), func(t *testing.T) {
					b := bytes.Clone(plain)
					switch pack {
					case "zstd":
						b = write(t, in, compact, keyed, true)
					case "lz4":
						if repack(t, b, packedLZ4) < 50 {
							t.Fatal("few payloads were packed")
						}
					case "xz":
						if repack(t, b, packedXZ) < 50 {
							t.Fatal("few payloads were packed")
						}
					}
					got, want := ours(t, b), theirs(t, b)
					if len(got) != len(want) || len(got) != 400 {
						t.Fatalf("%d entries, journalctl has %d", len(got), len(want))
					}
					for i := range got {
						if !reflect.DeepEqual(got[i], want[i]) {
							t.Fatalf("entry %d:\n%.600q\n%.600q", i, got[i], want[i])
						}
					}
				})
			}
		}
	}
}

// TestDamaged damages journals of the real writer: every entry that journalctl
// still shows is found, and most of the others are.
func TestDamaged(t *testing.T) {
	needs.Tool(t, "journalctl")
	in := export(400)
	rng := rand.New(rand.NewPCG(3, 4))
	for _, compact := range []bool{false, true} {
		whole := write(t, in, compact, true, true)
		j, err := Open(bytes.NewReader(whole), int64(len(whole)))
		if err != nil {
			t.Fatal(err)
		}
		first, last := int(j.entryArray), int(j.tailObject)
		middle := (first + last) / 2 &^ 7
		for _, test := range []struct {
			name   string
			damage func([]byte) []byte
			least  int // entries
		}{
			{"online", func(b []byte) []byte { b[16] = byte(Online); return b }, 400},
			{"cut", func(b []byte) []byte { return b[:middle] }, 100},
			{"hole", func(b []byte) []byte { clear(b[middle : middle+8192]); return b }, 300},
			{"noise", func(b []byte) []byte {
				for i := range 8192 {
					b[middle+i] = byte(rng.Uint32())
				}
				return b
			}, 300},
			{"bytes", func(b []byte) []byte {
				for range 20 {
					b[first+rng.IntN(last-first)] ^= 0xff
				}
				return b
			}, 350},
			{"arrays", func(b []byte) []byte { b[first+1], b[first] = 0xff, 0xff; return b }, 400},
		} {
			t.Run(fmt.Sprintf("compact=%t,%s", compact, test.name), func(t *testing.T) {
				b := test.damage(bytes.Clone(whole))
				j, err := Open(bytes.NewReader(b), int64(len(b)))
				if err != nil {
					t.Fatal(err)
				}
				found := make(map[string]bool)
				for e, err := range j.Entries() {
					if err == nil {
						found[strconv.FormatInt(e.Realtime.UnixMicro(), 10)] = true
					}
				}
				if len(found) < test.least || len(found) > 400 {
					t.Errorf("%d entries", len(found))
				}
				shown := theirs(t, b)
				for _, e := range shown {
					if !found[e.realtime] {
						t.Errorf("journalctl has an entry of %s", e.realtime)
					}
				}
				t.Logf("%d entries, journalctl shows %d", len(found), len(shown))
			})
		}
	}
}
