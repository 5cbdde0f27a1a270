package erofs_test

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"lagan/evidence"
	"lagan/evidence/erofs"
)

var update = flag.Bool("update", false, "make testdata's images anew, with MKFS_EROFS (1.9 or later), as root")

// golden are images of one tree, made by mkfs.erofs 1.9: formats that the
// machine's own may not make.
var golden = map[string][]string{
	"plain":           {},
	"extended":        {"-Eforce-inode-extended,noinline_data", "-b1024"},
	"chunks":          {"-Eforce-chunk-indexes", "--chunksize=4096"},
	"lz4":             {"-zlz4hc,12"},
	"lz4-full-index":  {"-zlz4", "-Elegacy-compress"},
	"lz4-tailpacking": {"-zlz4hc", "-C65536", "-Eztailpacking"},
	"lz4-fragments":   {"-zlz4hc", "-C32768", "-Efragments,dedupe"},
	"lz4-all-packed":  {"-zlz4", "-Eall-fragments"},
	"lzma":            {"-zlzma", "-C65536"},
	"deflate":         {"-zdeflate", "-C16384"},
	"zstd-extents":    {"-zzstd", "-C65536", "-E48bit"},
	"metabox":         {"-zzstd", "-m4096", "--zD=1", "--xattr-prefix=user.note."},
}

func unpack(t testing.TB, name string) []byte {
	t.Helper()
	packed, err := os.ReadFile(filepath.Join("testdata", name+".erofs.zst"))
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	b, err := z.DecodeAll(packed, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func open(t testing.TB, b []byte) *erofs.FS {
	t.Helper()
	f, err := erofs.Open(bytes.NewReader(b), int64(len(b)), evidence.Options{Warn: func(err error) { t.Errorf("warning: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// list gives a tree as text, without what differs between images of it.
func list(t testing.TB, f evidence.FS) string {
	t.Helper()
	var out strings.Builder
	err := evidence.Walk(f, f.Root(), func(path string, e evidence.Entry, i evidence.Info, err error) error {
		if err != nil {
			return err
		}
		fmt.Fprintf(&out, "/%s %s %04o %d:%d %d", path, i.Type, i.Perm, i.UID, i.GID, i.Nlink)
		if path != "" { // compact inodes keep whole seconds; the root's is the time of the build
			fmt.Fprintf(&out, " %d", i.Mtime.Unix())
		}
		switch i.Type {
		case evidence.TypeFile:
			r, err := f.Open(e.Ino)
			if err != nil {
				return err
			}
			h := sha256.New()
			if _, err := io.Copy(h, r); err != nil {
				return err
			}
			fmt.Fprintf(&out, " %d %x", i.Size, h.Sum(nil)[:8])
		case evidence.TypeSymlink:
			target, err := f.ReadLink(e.Ino)
			if err != nil {
				return err
			}
			fmt.Fprintf(&out, " ->%s", target)
		case evidence.TypeChar, evidence.TypeBlock:
			fmt.Fprintf(&out, " %d:%d", i.Major, i.Minor)
		}
		x, err := f.Xattrs(e.Ino)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(x)) {
			fmt.Fprintf(&out, " %s=%x", name, x[name])
		}
		out.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return out.String()
}

func TestGolden(t *testing.T) {
	truth := filepath.Join("testdata", "tree.txt")
	if *update {
		makeGolden(t)
		if err := os.WriteFile(truth, []byte(list(t, open(t, unpack(t, "plain")))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(truth)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(golden)) {
		t.Run(name, func(t *testing.T) {
			f := open(t, unpack(t, name))
			if have := list(t, f); have != string(want) {
				h, w := strings.Split(have, "\n"), strings.Split(string(want), "\n")
				for i := range min(len(h), len(w)) {
					if h[i] != w[i] {
						t.Fatalf("have %s\nwant %s", h[i], w[i])
					}
				}
				t.Fatalf("%d lines, want %d", len(h), len(w))
			}
			d := f.Describe()
			if d.Type != "erofs" || d.UUID != "01234567-89ab-cdef-0123-456789abcdef" || d.Label != "golden" || d.Size == 0 || d.Created.Year() != 2023 {
				t.Errorf("%+v", d)
			}
		})
	}
}

// makeGolden makes the images; that they are read right, TestKernel shows of others.
func makeGolden(t *testing.T) {
	tree := filepath.Join(t.TempDir(), "tree")
	fillGolden(t, tree)
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		t.Fatal(err)
	}
	for name, options := range golden {
		image := filepath.Join(t.TempDir(), "image")
		args := append(slices.Clone(options), "-U01234567-89ab-cdef-0123-456789abcdef", "-Lgolden", "-T1700000000", "--mkfs-time", image, tree)
		if out, err := exec.Command(mkfs(), args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		b, err := os.ReadFile(image)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join("testdata", name+".erofs.zst"), w.EncodeAll(b, nil), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
