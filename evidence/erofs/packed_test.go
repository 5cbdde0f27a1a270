package erofs_test

import (
	"cmp"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"testing"

	"lagan/evidence"
	"lagan/evidence/erofs"
	"lagan/evidence/packtest"
)

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

var format = packtest.Format{
	Name: "erofs",
	Open: func(r io.ReaderAt, size int64, o evidence.Options) (evidence.FS, error) {
		f, err := erofs.Open(r, size, o)
		if f == nil {
			return nil, err // not a nil *FS in an interface that isn't nil
		}
		return f, err
	},
	Make:   mkfs,
	Golden: golden,
	First:  "plain",
	Near:   func(rng *rand.Rand, size int) int { return 1024 + rng.IntN(min(size-1024, 8192)) },
	Shape:  packtest.Shape{Turns: 30, Names: 300, Sizes: []int{0, 1, 31, 100, 511, 512, 513, 1000, 4000, 4095, 4096, 4097, 8191, 8192, 12345, 65535, 65536, 70000}},
}

// mkfs runs mkfs.erofs, or the one that MKFS_EROFS names: another than the
// system's makes more formats. Those of testdata take 1.9 or later.
func mkfs(image, tree string, golden bool, options []string) *exec.Cmd {
	args := slices.Clone(options)
	if golden {
		args = append(args, "-U01234567-89ab-cdef-0123-456789abcdef", "-Lgolden", "-T1700000000", "--mkfs-time")
	}
	return exec.Command(cmp.Or(os.Getenv("MKFS_EROFS"), "mkfs.erofs"), append(args, image, tree)...)
}

// variants are options of mkfs.erofs. What a version of it doesn't know is skipped.
var variants = [][]string{
	{},
	{"-x-1"},
	{"-x1"},
	{"-Eforce-inode-extended"},
	{"-Eforce-inode-compact", "-T1700000000"},
	{"-Enoinline_data"},
	{"--chunksize=4096"},
	{"--chunksize=65536"},
	{"-Eforce-chunk-indexes", "--chunksize=8192"},
	{"-zlz4"},
	{"-zlz4hc,9"},
	{"-zlz4hc,12", "-C65536"},
	{"-zlz4", "-Elegacy-compress"},
	{"-zlz4", "-Eztailpacking"},
	{"-zlz4hc", "-C16384", "-Eztailpacking"},
	{"-b512"},
	{"-b1024", "-zlz4"},
	{"-zlz4hc", "-Efragments"},
	{"-zlz4hc", "-Eall-fragments,fragdedupe=full", "-C32768"},
	{"-zlz4hc", "-Ededupe", "-C32768"},
	{"-zlz4hc", "-Ededupe,fragments,ztailpacking", "-C65536"},
	{"-zlzma", "-C65536"},
	{"-zlzma,level=9,dictsize=32768"},
	{"-zdeflate", "-C32768", "-Eztailpacking"},
	{"-zzstd", "-C65536", "-Efragments"},
	{"-zzstd,level=19", "-C1048576"},
	{"-zlz4hc:zstd", "-C32768"},
	{"-zzstd", "-E48bit"},
	{"-E48bit"},
	{"-zzstd", "-C65536", "--max-extent-bytes=65536", "-E48bit"},
	{"-zlz4hc", "--zD=1"},
	{"-zzstd", "-m4096"},
	{"-zlz4", "-m4096", "--MZ=i"},
	{"-Exattr-name-filter", "--xattr-prefix=user.note."},
	{"-zlz4", "-m4096", "--xattr-prefix=trusted.overlay.", "--xattr-prefix=user.note."},
}

func TestKernel(t *testing.T) { format.TestKernel(t, variants) }

func TestGolden(t *testing.T) {
	format.TestGolden(t, func(d evidence.Description) bool {
		return d.UUID == "01234567-89ab-cdef-0123-456789abcdef" && d.Label == "golden"
	})
}
