package ext4

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/evidence/jbd2"
)

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
