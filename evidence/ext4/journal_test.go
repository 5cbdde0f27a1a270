package ext4

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/fixtures"
	"lagan/internal/needs"
)

// crashes are images of filesystems that were stopped dead under load, with
// what the kernel showed of each after its recovery: scripts/crashloop -golden.
var crashes = []struct {
	name         string
	transactions int
	fast         int // fast commits
}{
	{"ext3", 28, 0}, {"ext4-1k", 19, 0}, {"ext4-async-v1", 24, 0}, {"ext4-data", 16, 0}, {"ext4-orphan", 13, 0},
	{"ext4-fast", 6, 3}, {"ext4-fast2", 14, 3},
}

// crashFile unpacks testdata/crash/NAME.zst.
func crashFile(t testing.TB, name string) []byte {
	t.Helper()
	return fixtures.Unpack(t, filepath.Join("testdata", "crash", name+".zst"))
}

// recovered is what scripts/crashloop keeps of a path; zero times were made by the recovery.
type recovered struct {
	Type, Mode                string
	UID, GID, Nlink           uint32
	Inode                     uint64
	Size, Mtime, Ctime, Btime int64
	Target, Rdev, SHA256      string
	Xattrs                    map[string]string
}

// TestCrashes compares the replay of whole crashes with the kernel's.
func TestCrashes(t *testing.T) {
	for _, c := range crashes {
		t.Run(c.name, func(t *testing.T) {
			image := crashFile(t, c.name+".img")
			var want map[string]recovered
			if err := json.Unmarshal(crashFile(t, c.name+".json"), &want); err != nil {
				t.Fatal(err)
			}
			fs := opened(t, image)
			j := fs.Describe().Journal
			note := ""
			if c.fast > 0 {
				note = fmt.Sprintf("%d fast commits", c.fast)
			}
			if j.State != evidence.JournalReplayed || j.Transactions != c.transactions || j.Note != note || j.Blocks == 0 || j.Last.Before(j.First) || j.First.IsZero() {
				t.Errorf("%+v", j)
			}
			compareRecovered(t, fs, want)
			if c.fast == 0 { // a folder that a fast commit removed keeps an inode without a path
				crossCheck(t, fs)
			}
		})
	}
}

func compareRecovered(t *testing.T, fs *FS, want map[string]recovered) {
	t.Helper()
	seen := 0
	err := evidence.Walk(fs, fs.Root(), func(path string, e evidence.Entry, info evidence.Info, err error) error {
		if err != nil {
			t.Errorf("%q: %v", path, err)
			return nil
		}
		w, ok := want[path]
		if !ok {
			t.Errorf("%q is not there", path)
			return nil
		}
		seen++
		g := recovered{Type: info.Type.String(), Mode: fmt.Sprintf("%04o", info.Perm), UID: info.UID, GID: info.GID, Nlink: info.Nlink,
			Inode: info.Inode, Mtime: info.Mtime.UnixNano(), Ctime: info.Ctime.UnixNano(), Target: w.Target, Rdev: w.Rdev}
		if !info.Btime.IsZero() {
			g.Btime = info.Btime.UnixNano()
		}
		if w.Mtime == 0 {
			g.Mtime = 0
		}
		if w.Ctime == 0 {
			g.Ctime = 0
		}
		switch info.Type {
		case evidence.TypeFile:
			g.Size = info.Size
			g.SHA256, err = sum(fs, e.Ino)
		case evidence.TypeSymlink:
			g.Target, err = fs.ReadLink(e.Ino)
		case evidence.TypeChar, evidence.TypeBlock:
			g.Rdev = fmt.Sprintf("%d:%d", info.Major, info.Minor)
		}
		xattrs, xerr := fs.Xattrs(e.Ino)
		if err := errors.Join(err, xerr); err != nil {
			t.Errorf("%q: %v", path, err)
		}
		for k, v := range xattrs {
			if g.Xattrs == nil {
				g.Xattrs = map[string]string{}
			}
			g.Xattrs[k] = fmt.Sprintf("%x", v)
		}
		if a, b := fmt.Sprintf("%+v", g), fmt.Sprintf("%+v", w); a != b {
			t.Errorf("%q\n got %s\nwant %s", path, a, b)
		}
		return nil
	})
	if err != nil || seen != len(want) {
		t.Errorf("%d paths of %d, %v", seen, len(want), err)
	}
}

// TestFromJournal compares the marks with what the two views differ in.
func TestFromJournal(t *testing.T) {
	for _, name := range []string{"ext4-1k", "ext4-fast"} {
		image := crashFile(t, name+".img")
		var w warnings
		o := w.options()
		o.NoJournal = true
		stale, err := Open(bytes.NewReader(image), int64(len(image)), o)
		if err != nil {
			t.Fatal(err)
		}
		j := stale.Describe().Journal
		if j.State != evidence.JournalDirty || j.Transactions == 0 || len(w.told()) == 0 || !strings.Contains(strings.Join(w.told(), "\n"), "stale") {
			t.Errorf("%s: left alone: %+v, %q", name, j, w.told())
		}
		fresh := opened(t, image)
		marked, unmarked := 0, 0
		for in, err := range fresh.Inodes() {
			if err != nil {
				t.Fatal(err)
			}
			old, err1 := stale.rawInode(uint32(in.Ino))
			now, err2 := fresh.rawInode(uint32(in.Ino))
			if err := errors.Join(err1, err2); err != nil {
				t.Fatal(err)
			}
			differs := !bytes.Equal(old, now)
			info, err := fresh.Stat(in.Ino)
			if err != nil || in.Info.FromJournal != differs || info.FromJournal != differs {
				t.Errorf("%s: inode %d: marked %v and %v, differs %v, %v", name, in.Ino, in.Info.FromJournal, info.FromJournal, differs, err)
			}
			if differs {
				marked++
			} else {
				unmarked++
			}
		}
		if marked == 0 || unmarked == 0 {
			t.Errorf("%s: %d inodes from the journal, %d not", name, marked, unmarked)
		}
	}
}

// TestJournalStates spoils one thing at a time. The image has no checksums.
func TestJournalStates(t *testing.T) {
	base := crashFile(t, "ext4-1k.img")
	sb := opened(t, base).sb
	plain, err := open(bytes.NewReader(base), int64(len(base)), evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	journalInode, err := plain.inodeAt(sb.journalIno)
	if err != nil {
		t.Fatal(err)
	}
	in, err := plain.inode(sb.journalIno)
	if err != nil {
		t.Fatal(err)
	}
	first, err := plain.mapping(in).find(0)
	if err != nil {
		t.Fatal(err)
	}
	log := int64(first.pblk << sb.blockBits)
	const incompatAt, journalInumAt = superOffset + 0x60, superOffset + 0xe0
	set := func(off int64, v uint32) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint32(b[off:], v) }
	}
	for _, c := range []struct {
		name    string
		spoil   []func([]byte)
		state   evidence.JournalState
		note    string
		warning string
	}{
		{name: "as it is", state: evidence.JournalReplayed},
		{"log is empty", []func([]byte){set(log+28, 0)}, evidence.JournalClean, "", ""},
		{"no recovery asked for", []func([]byte){set(incompatAt, sb.incompat&^incompatRecover)}, evidence.JournalClean, "19 transactions in the log don't count", ""},
		{"log without magic", []func([]byte){set(log, 7)}, evidence.JournalDirty, "no magic", "can't be replayed"},
		{"journal inode gone", []func([]byte){func(b []byte) { clear(b[journalInode:][:128]) }}, evidence.JournalReplayed, "", "copy of the journal's block map"},
		{"journal inode and its copy gone", []func([]byte){func(b []byte) { clear(b[journalInode:][:128]); b[superOffset+jnlBackupTypeAt] = 0 }}, evidence.JournalDirty, "", "can't be replayed"},
		{"external", []func([]byte){set(journalInumAt, 0)}, evidence.JournalExternal, "another device", "another device"},
		{"none", []func([]byte){set(superOffset+0x5c, sb.compat&^compatHasJournal), set(incompatAt, sb.incompat&^incompatRecover)}, evidence.JournalNone, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := slices.Clone(base)
			for _, s := range c.spoil {
				s(b)
			}
			var w warnings
			fs, err := Open(bytes.NewReader(b), int64(len(b)), w.options())
			if err != nil {
				t.Fatal(err)
			}
			j := fs.Describe().Journal
			if all := strings.Join(w.told(), "\n"); j.State != c.state || !strings.Contains(all, c.warning) || c.warning == "" && all != "" {
				t.Errorf("%+v, %q", j, w.told())
			}
			if c.state == evidence.JournalExternal {
				return // the note names the device
			}
			if !strings.Contains(j.Note, c.note) || c.note == "" && c.state != evidence.JournalDirty && j.Note != "" {
				t.Errorf("note %q", j.Note)
			}
		})
	}
}

func TestFileRuns(t *testing.T) {
	f := &fileRuns{}
	f.add(run{0, 4, 100})
	f.add(run{4, 4, 104}) // joins
	f.add(run{20, 2, 300})
	f.add(run{10, 2, 200})
	f.cut(2, 2)
	f.cut(11, 10)
	f.cut(50, 10)
	want := []run{{0, 2, 100}, {4, 4, 104}, {10, 1, 200}, {21, 1, 301}}
	if !slices.Equal(f.runs, want) {
		t.Errorf("%v", f.runs)
	}
	f.cut(0, maxLogical)
	if len(f.runs) != 0 {
		t.Errorf("%v", f.runs)
	}
}

// TestCrashOrphans compares the files that were deleted while they were open with
// those that e2fsck clears after its own replay.
func TestCrashOrphans(t *testing.T) {
	needs.Tool(t, "e2fsck")
	for _, name := range []string{"ext3", "ext4-1k", "ext4-data", "ext4-orphan"} {
		image := crashFile(t, name+".img")
		path := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(path, image, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("e2fsck", "-fy", path).CombinedOutput()
		if err != nil && !strings.Contains(string(out), "FILE SYSTEM WAS MODIFIED") {
			t.Fatalf("%v\n%s", err, out)
		}
		want := map[evidence.Ino]int64{}
		for line := range strings.Lines(string(out)) {
			var ino evidence.Ino
			var uid, gid, mode string
			var size int64
			if n, _ := fmt.Sscanf(line, "Clearing orphaned inode %d (uid=%s gid=%s mode=%s size=%d)", &ino, &uid, &gid, &mode, &size); n == 5 {
				want[ino] = size
			}
		}
		fs := opened(t, image)
		got := map[evidence.Ino]int64{}
		for d, err := range fs.Deleted() {
			if err != nil {
				t.Error(err)
				continue
			}
			if !d.Open {
				continue
			}
			got[d.Ino] = d.Info.Size
			if f, err := fs.Open(d.Ino); err != nil {
				t.Error(err)
			} else if n, err := io.Copy(io.Discard, f); n != d.Info.Size || err != nil {
				t.Errorf("inode %d: %d bytes of %d, %v", d.Ino, n, d.Info.Size, err)
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: orphans %v, e2fsck says %v", name, got, want)
		}
		t.Logf("%s: %d orphans", name, len(want))
	}
}
