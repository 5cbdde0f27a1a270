package ext4

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lagan/evidence"
	"lagan/internal/needs"
)

// variant is a way of making a filesystem.
type variant struct {
	name string
	mkfs []string
	mib  int
	many int // entries of a large directory
}

var variants = []variant{
	{"ext4", []string{"mkfs.ext4"}, 32, 900},
	{"inline", []string{"mkfs.ext4", "-b", "1024", "-N", "3000", "-O", "^has_journal,inline_data,ea_inode"}, 12, 240},
	{"ext2", []string{"mkfs.ext2", "-b", "1024", "-I", "128", "-N", "3000"}, 12, 240},
	{"ext3", []string{"mkfs.ext3"}, 32, 300},
	{"2k", []string{"mkfs.ext4", "-b", "2048"}, 32, 900},
	{"uninit_bg", []string{"mkfs.ext4", "-O", "^metadata_csum,uninit_bg"}, 32, 300},
	{"32bit", []string{"mkfs.ext4", "-O", "^64bit,^metadata_csum,^uninit_bg"}, 32, 300},
	{"meta_bg", []string{"mkfs.ext4", "-b", "1024", "-O", "meta_bg,^resize_inode,metadata_csum_seed,orphan_file"}, 48, 2400},
	{"bigalloc", []string{"mkfs.ext4", "-O", "bigalloc,sparse_super2,large_dir", "-C", "16384"}, 48, 900},
}

// mounted mounts an image and unmounts it when the test, or sooner its caller, is done.
func mounted(t *testing.T, image, options string) (string, func()) {
	t.Helper()
	dir := t.TempDir()
	sh(t, "mount", "-o", "loop,noatime"+options, image, dir)
	done := false
	umount := func() {
		if !done {
			done = true
			sh(t, "umount", dir)
		}
	}
	t.Cleanup(umount)
	return dir, umount
}

// made makes an image, not of zeros, lets the kernel fill it and returns it
// with what the kernel shows of it.
func made(t *testing.T, v variant, fill func(testing.TB, string, int)) ([]byte, map[string]string) {
	t.Helper()
	needs.Tool(t, v.mkfs[0])
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, bytes.Repeat([]byte{0xaa}, v.mib<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	sh(t, v.mkfs[0], append(append([]string{"-q", "-F", "-E", "nodiscard"}, v.mkfs[1:]...), image)...)
	dir, umount := mounted(t, image, ",nodiscard")
	fill(t, dir, v.many)
	umount()
	dir, umount = mounted(t, image, ",ro")
	truth := kernelList(t, dir)
	umount()
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	return b, truth
}

// populate makes the shapes that readers get wrong.
func populate(t testing.TB, top string, many int) {
	try := func(err error) {
		if err != nil && !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.ERANGE) && !errors.Is(err, unix.EOPNOTSUPP) {
			t.Helper()
			t.Error(err)
		}
	}
	at := func(name string) string { return filepath.Join(top, name) }
	put := func(name string, data []byte) { try(os.WriteFile(at(name), data, 0o644)) }
	try(os.MkdirAll(at("d/e/f/g/h/i/j/k/l"), 0o755))
	try(os.Mkdir(at("huge"), 0o1777))
	for i := range many {
		put(fmt.Sprintf("huge/an-entry-with-a-name-that-is-long-enough-to-fill-blocks-%06d", i), nil)
	}
	for i := 0; i < many; i += 3 {
		try(os.Remove(at(fmt.Sprintf("huge/an-entry-with-a-name-that-is-long-enough-to-fill-blocks-%06d", i))))
	}
	for _, n := range []int{0, 1, 59, 60, 61, 150, 156, 160, 400, 1023, 1024, 1025, 4096, 5000} {
		put(fmt.Sprintf("size%d", n), bytes.Repeat([]byte("0123456789"), n/10+1)[:n])
		if n > 0 && n < 1023 {
			try(os.Symlink("/"+strings.Repeat("l", n-1), at(fmt.Sprintf("link%d", n))))
		}
	}
	for _, name := range []string{"\xff\xfe-bad", "new\nline", "наïve-文件-🐳", " -rf ", strings.Repeat("n", 255)} {
		put(name, []byte(name))
	}
	try(os.Link(at("size5000"), at("d/e/hard")))
	try(os.Chown(at("size1"), 100000, 165536))
	try(os.Chmod(at("size1"), 0o755|fs.ModeSetuid))
	for _, n := range []struct {
		name  string
		mode  uint32
		major uint32
		minor uint32
	}{{"whiteout", unix.S_IFCHR, 0, 0}, {"sda", unix.S_IFBLK | 0o660, 8, 1}, {"big", unix.S_IFCHR | 0o600, 259, 70000}, {"fifo", unix.S_IFIFO, 0, 0}} {
		try(unix.Mknod(at(n.name), n.mode, int(unix.Mkdev(n.major, n.minor))))
	}
	for name, sec := range map[string]int64{"y1960": -300000000, "y2039": 2190000000, "y2100": 4102444800} {
		put(name, nil)
		try(os.Chtimes(at(name), time.Unix(sec, 1), time.Unix(sec, 123456789)))
	}
	populateXattrs(try, put, at)
	populateBlocks(try, at)
	for i := range 20 {
		put(fmt.Sprintf("gone%d", i), bytes.Repeat([]byte{byte(i)}, 3000))
	}
	if d, err := os.Open(top); err == nil {
		try(unix.Syncfs(int(d.Fd())))
		d.Close()
	}
	for i := range 20 {
		try(os.Remove(at(fmt.Sprintf("gone%d", i))))
	}
}

func populateXattrs(try func(error), put func(string, []byte), at func(string) string) {
	set := func(name, key string, value []byte) { try(unix.Lsetxattr(at(name), key, value, 0)) }
	for _, n := range []int{0, 30, 90, 800, 3000, 20000} {
		name := fmt.Sprintf("ea%d", n)
		put(name, []byte(name))
		set(name, "user.value", bytes.Repeat([]byte{byte(n)}, n))
	}
	put("ea-many", nil)
	for i := range 40 {
		set("ea-many", fmt.Sprintf("user.key%d", i), bytes.Repeat([]byte("v"), i))
	}
	set("d", "trusted.overlay.opaque", []byte("y"))
	set("size60", "trusted.overlay.metacopy", nil)
	set("size60", "security.capability", append([]byte{1, 0, 0, 2, 0, 4}, make([]byte, 14)...))
	set("link59", "trusted.long", bytes.Repeat([]byte("x"), 500))
	set("link60", "trusted.t", []byte("x"))
	// user::rw- user:1000:r-- group::r-- mask::r-- other::r--
	acl, _ := hex.DecodeString("02000000" + "01000600ffffffff" + "02000400e8030000" + "04000400ffffffff" + "10000400ffffffff" + "20000400ffffffff")
	set("size400", "system.posix_acl_access", acl)
	set("d", "system.posix_acl_default", acl)
}

// populateBlocks makes holes, preallocation and more extents than an inode holds.
func populateBlocks(try func(error), at func(string) string) {
	for _, name := range []string{"sparse", "hole", "preallocated", "fragmented"} {
		f, err := os.Create(at(name))
		try(err)
		switch name {
		case "sparse":
			_, err = f.WriteAt(bytes.Repeat([]byte("S"), 5000), 1<<20)
			try(err)
			try(f.Truncate(3 << 20))
		case "hole":
			try(f.Truncate(1 << 20))
		case "preallocated":
			try(unix.Fallocate(int(f.Fd()), 0, 0, 200000))
			_, err = f.WriteAt([]byte("written"), 100000)
			try(err)
		case "fragmented":
			for i := range 400 {
				_, err = f.WriteAt(bytes.Repeat([]byte{byte(i)}, 1024), int64(i)*8192)
				try(err)
			}
		}
		try(f.Close())
	}
}

// kernelList is list, told by the kernel.
func kernelList(t testing.TB, top string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Statx_t
		if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_ALL, &st); err != nil {
			return err
		}
		at := func(ts unix.StatxTimestamp) time.Time { return time.Unix(ts.Sec, int64(ts.Nsec)).UTC() }
		r := record{info: evidence.Info{
			Inode: st.Ino, Type: evidence.TypeOfMode(st.Mode), Perm: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid, Nlink: st.Nlink,
			Size: int64(st.Size), Major: st.Rdev_major, Minor: st.Rdev_minor, Mtime: at(st.Mtime), Atime: at(st.Atime), Ctime: at(st.Ctime),
		}, xattrs: kernelXattrs(path)}
		if st.Mask&unix.STATX_BTIME != 0 {
			r.info.Btime = at(st.Btime)
		}
		switch r.info.Type {
		case evidence.TypeSymlink:
			r.target, err = os.Readlink(path)
		case evidence.TypeFile:
			var b []byte
			if b, err = os.ReadFile(path); errors.Is(err, unix.ENOKEY) {
				err = nil
			} else {
				sum := sha256.Sum256(b)
				r.sum = hex.EncodeToString(sum[:])
			}
		}
		out["/"+strings.TrimPrefix(strings.TrimPrefix(path, top), "/")] = r.String()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func kernelXattrs(path string) map[string][]byte {
	buf := make([]byte, 1<<16)
	n, _ := unix.Llistxattr(path, buf)
	out := map[string][]byte{}
	for _, name := range strings.Split(string(buf[:max(n, 0)]), "\x00") {
		if name != "" {
			v := make([]byte, 1<<16)
			n, _ := unix.Lgetxattr(path, name, v)
			out[name] = v[:max(n, 0)]
		}
	}
	return out
}

// TestKernel compares every variant with what the kernel shows.
func TestKernel(t *testing.T) {
	needs.Root(t, "a loop mount")
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			image, truth := made(t, v, populate)
			fs := opened(t, image)
			compare(t, truth, list(t, fs))
			crossCheck(t, fs)
		})
	}
}

// TestUpdate makes testdata again.
func TestUpdate(t *testing.T) {
	if !*update {
		t.Skip("without -update")
	}
	needs.Root(t, "a loop mount")
	for _, v := range variants[1:3] {
		image, truth := made(t, v, populate)
		save(t, v.name, image, truth)
	}
	image, truth := made(t, variant{"fscrypt", []string{"mkfs.ext4", "-b", "1024", "-N", "128", "-O", "^has_journal,encrypt"}, 2, 40}, encrypt)
	save(t, "fscrypt", image, truth)
}

func save(t *testing.T, name string, image []byte, truth map[string]string) {
	t.Helper()
	var packed, lines bytes.Buffer
	z, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	z.Write(image)
	z.Close()
	for _, path := range slices.Sorted(maps.Keys(truth)) {
		fmt.Fprintf(&lines, "%q %s\n", path, truth[path])
	}
	for file, b := range map[string][]byte{name + ".img.gz": packed.Bytes(), name + ".golden": lines.Bytes()} {
		if err := os.WriteFile(filepath.Join("testdata", file), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
