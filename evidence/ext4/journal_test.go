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
	"lagan/evidence/jbd2"
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

// fastImage puts tags of fast commits into a crash's journal, with the head
// and tail that make them count.
func fastImage(t testing.TB) func(tags ...jbd2.FastTag) []byte {
	base := crashFile(t, "ext4-fast.img")
	fs, err := open(bytes.NewReader(base), int64(len(base)), evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	log, err := fs.readLog()
	if err != nil || log.FastCommits == 0 {
		t.Fatal(log, err)
	}
	in, err := fs.inode(fs.sb.journalIno)
	if err != nil {
		t.Fatal(err)
	}
	fastBlocks := uint64(log.FastBlocks)
	if fastBlocks == 0 {
		fastBlocks = 256
	}
	r, err := fs.mapping(in).find(uint64(log.Length) - fastBlocks + 1)
	if err != nil {
		t.Fatal(err)
	}
	at := int(r.pblk << fs.sb.blockBits)
	tid := log.Sequence + uint32(len(log.Transactions))
	return func(tags ...jbd2.FastTag) []byte {
		image := slices.Clone(base)
		size := fs.sb.blockSize()
		var out []byte
		put := func(tag uint16, n int, v []byte) {
			if left := size - len(out)%size; left < n+16 && // room for the tail as well
				tag != jbd2.FastTail {
				out = le.AppendUint16(le.AppendUint16(out, jbd2.FastPad), uint16(left-4))
				out = append(out, make([]byte, left-4)...)
			}
			out = le.AppendUint16(le.AppendUint16(out, tag), uint16(n))
			out = append(out, v...)
		}
		put(jbd2.FastHead, 8, le.AppendUint32(make([]byte, 4), tid))
		for _, tag := range tags {
			if len(out)+len(tag.Value)+3*size < int(r.n)*size {
				put(tag.Tag, len(tag.Value), tag.Value)
			}
		}
		put(jbd2.FastTail, size-len(out)%size-4, le.AppendUint32(nil, tid))
		out = le.AppendUint32(out, crc32c(0, out))
		clear(image[at:][:int(r.n)*size]) // what follows doesn't count
		copy(image[at:], out)
		return image
	}
}

func dentry(tag uint16, dir, ino uint32, name string) jbd2.FastTag {
	return jbd2.FastTag{Tag: tag, Value: append(le.AppendUint32(le.AppendUint32(nil, dir), ino), name...)}
}

// fastInode makes an inode's image, as INODE tags hold it.
func fastInode(ino uint32, mode, links uint16, size uint32, flags uint32) jbd2.FastTag {
	raw := make([]byte, 160)
	le.PutUint16(raw, mode)
	le.PutUint32(raw[4:], size)
	le.PutUint16(raw[0x1a:], links)
	le.PutUint32(raw[0x20:], flags)
	le.PutUint16(raw[0x80:], 32)
	return jbd2.FastTag{Tag: jbd2.FastInode, Value: append(le.AppendUint32(nil, ino), raw...)}
}

func fastExtent(ino, lblk uint32, n uint16, pblk uint32) jbd2.FastTag {
	v := le.AppendUint32(le.AppendUint32(nil, ino), lblk)
	v = le.AppendUint16(le.AppendUint16(v, n), 0)
	return jbd2.FastTag{Tag: jbd2.FastAddRange, Value: le.AppendUint32(v, pblk)}
}

// TestFastCommits applies single changes and looks at what they change.
func TestFastCommits(t *testing.T) {
	image := fastImage(t)
	before := opened(t, image())
	names := list(t, before)
	file, other := uint32(5000), uint32(5001) // inodes of a group that nothing used yet
	reg := fastInode(file, 0o100644, 1, 12288, flagExtents)
	lookup := func(t *testing.T, fs *FS, path string) (*inode, bool) {
		t.Helper()
		ino, err := evidence.Resolve(fs, fs.Root(), path, false)
		if err != nil {
			return nil, false
		}
		in, err := fs.get(ino)
		if err != nil {
			t.Fatal(err)
		}
		return in, true
	}
	apply := func(t *testing.T, tags ...jbd2.FastTag) *FS {
		t.Helper()
		fs := opened(t, image(tags...))
		listed := list(t, fs)
		for path := range names {
			if _, ok := listed[path]; !ok && len(tags) == 0 {
				t.Errorf("%q is gone", path)
			}
		}
		return fs
	}
	t.Run("create", func(t *testing.T) {
		fs := apply(t, reg, fastExtent(file, 0, 2, 900), dentry(jbd2.FastCreate, rootIno, file, "new"))
		in, ok := lookup(t, fs, "new")
		if !ok || in.ino != file || in.links != 1 {
			t.Fatalf("%+v", in)
		}
		b, err := io.ReadAll(fs.content(in))
		want := make([]byte, 12288)
		size := fs.sb.blockSize()
		fs.dev.ReadAt(want[:2*size], int64(900*size))
		if err != nil || !bytes.Equal(b, want) {
			t.Errorf("content differs, %v", err)
		}
		crossCheck(t, fs)
	})
	t.Run("link, unlink, delete", func(t *testing.T) {
		fs := apply(t, reg, dentry(jbd2.FastCreate, rootIno, file, "a"), dentry(jbd2.FastLink, rootIno, file, "b"),
			dentry(jbd2.FastLink, rootIno, file, "b"), dentry(jbd2.FastUnlink, rootIno, file, "a"))
		if in, ok := lookup(t, fs, "b"); !ok || in.links != 1 {
			t.Errorf("%+v", in)
		}
		if _, ok := lookup(t, fs, "a"); ok {
			t.Error("a is still there")
		}
		fs = apply(t, reg, dentry(jbd2.FastCreate, rootIno, file, "a"), dentry(jbd2.FastUnlink, rootIno, file, "a"))
		found := false
		for d, err := range fs.Deleted() {
			if err != nil {
				t.Error(err)
			}
			found = found || d.Ino == evidence.Ino(file)
		}
		if _, ok := lookup(t, fs, "a"); ok || !found {
			t.Errorf("not among the deleted: %v", !found)
		}
	})
	t.Run("folder", func(t *testing.T) {
		tags := []jbd2.FastTag{fastInode(other, 0o040755, 2, 4096, flagExtents), dentry(jbd2.FastCreate, rootIno, other, "dir")}
		for i := range 60 {
			ino := file - uint32(i)
			tags = append(tags, dentry(jbd2.FastLink, other, file, fmt.Sprintf("%s-%d", strings.Repeat("n", 20), ino)))
		}
		tags = slices.Insert(tags, 2, reg, dentry(jbd2.FastCreate, other, file, "first"))
		fs := apply(t, tags...)
		dir, ok := lookup(t, fs, "dir")
		if !ok || dir.links != 1 || dir.typ() != evidence.TypeDir {
			t.Fatalf("%+v", dir)
		}
		entries, err := evidence.List(fs, evidence.Ino(other))
		if in, _ := lookup(t, fs, "dir/first"); err != nil || len(entries) != 61 || in.links != 61 {
			t.Errorf("%d entries, %v, %+v", len(entries), err, in)
		}
		crossCheck(t, fs)
	})
	t.Run("ranges", func(t *testing.T) {
		tags := []jbd2.FastTag{reg, dentry(jbd2.FastCreate, rootIno, file, "new")}
		for i := range uint32(50) {
			tags = append(tags, fastExtent(file, 2*i, 1, 900+3*i))
		}
		tags = append(tags, jbd2.FastTag{Tag: jbd2.FastDelRange, Value: le.AppendUint32(le.AppendUint32(le.AppendUint32(nil, file), 0), 9)},
			fastExtent(file, 11, 0x8001, 7)) // unwritten
		fs := apply(t, tags...)
		in, _ := lookup(t, fs, "new")
		got := map[uint64]uint64{}
		for r, err := range fs.mapping(in).runs(200) {
			if err != nil {
				t.Fatal(err)
			}
			if r.pblk != 0 {
				got[r.lblk] = r.pblk
			}
		}
		want := map[uint64]uint64{}
		for i := uint64(5); i < 50; i++ {
			want[2*i] = 900 + 3*i
		}
		if !maps.Equal(got, want) || le.Uint16(in.block[6:]) == 0 {
			t.Errorf("%v", got)
		}
	})
	t.Run("deleted without a name", func(t *testing.T) {
		var w warnings
		b := image(fastInode(file, 0o100644, 0, 0, flagExtents))
		fs, err := Open(bytes.NewReader(b), int64(len(b)), w.options())
		if err != nil || !strings.Contains(fs.Describe().Journal.Note, "the kernel would refuse") || len(w.told()) != 1 {
			t.Errorf("%q, %v", w.told(), err)
		}
	})
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

// FuzzFastCommits applies random changes to few inodes and names, so that they meet.
func FuzzFastCommits(f *testing.F) {
	image := fastImage(f)
	f.Add([]byte{3, 1, 2, 3, 1, 4, 5, 6, 2, 1, 2, 3})
	f.Add([]byte{6, 1, 1, 0, 4, 1, 0, 0, 1, 1, 0, 9, 2, 1, 0, 1, 5, 1, 0, 0})
	inodes := []uint32{2, 11, 12, 13, 14, 15, 20, 30, 40, 60, 5000, 5001, 0, 1, 1 << 31, 8, 7}
	modes := []uint16{0o100644, 0o040755, 0o120777, 0, 0o020600}
	f.Fuzz(func(t *testing.T, b []byte) {
		var tags []jbd2.FastTag
		for ; len(b) >= 4; b = b[4:] {
			ino, dir := inodes[int(b[1])%len(inodes)], inodes[int(b[2])%len(inodes)]
			switch b[0] % 7 {
			case jbd2.FastAddRange:
				tags = append(tags, fastExtent(ino, uint32(b[2])*3, uint16(b[3])|uint16(b[2]&1)<<15, uint32(b[3])*40))
			case jbd2.FastDelRange:
				v := le.AppendUint32(le.AppendUint32(le.AppendUint32(nil, ino), uint32(b[2])), uint32(b[3])<<(b[2]%25))
				tags = append(tags, jbd2.FastTag{Tag: jbd2.FastDelRange, Value: v})
			case jbd2.FastCreate, jbd2.FastLink, jbd2.FastUnlink:
				tags = append(tags, dentry(uint16(b[0]%7), dir, ino, strings.Repeat("x", 1+int(b[3])%255)))
			default:
				tags = append(tags, fastInode(ino, modes[int(b[2])%len(modes)], uint16(b[3]%3), uint32(b[3])<<8, []uint32{flagExtents, 0, flagInlineData}[b[2]%3]))
			}
		}
		out := image(tags...)
		exercise(t, bytes.NewReader(out), int64(len(out)), ours)
	})
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
