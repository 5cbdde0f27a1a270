package squashfs_test

import (
	"cmp"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"lagan/evidence"
	"lagan/evidence/packtest"
	"lagan/evidence/squashfs"
)

// golden are images of one tree, made by mksquashfs 4.5. No kernel reads lzma ones.
var golden = map[string][]string{
	"gzip":         {},
	"gzip-4k":      {"-b", "4K"},
	"lzma":         {"-comp", "lzma"},
	"lzo":          {"-comp", "lzo"},
	"xz":           {"-comp", "xz"},
	"lz4":          {"-comp", "lz4", "-Xhc", "-b", "8K"},
	"zstd":         {"-comp", "zstd"},
	"plain":        {"-noI", "-noD", "-noF", "-noX"},
	"no-fragments": {"-no-fragments", "-b", "16K"},
}

var format = packtest.Format{
	Name: "squashfs",
	Open: func(r io.ReaderAt, size int64, o evidence.Options) (evidence.FS, error) {
		f, err := squashfs.Open(r, size, o)
		if f == nil {
			return nil, err // not a nil *FS in an interface that isn't nil
		}
		return f, err
	},
	Make:     mksquashfs,
	Golden:   golden,
	First:    "gzip",
	RootTime: true,
	Near:     func(rng *rand.Rand, size int) int { return size - 1 - rng.IntN(min(size, 8192)) },
	Shape:    packtest.Shape{Turns: 12, Names: 200, Sizes: []int{0, 1, 31, 100, 511, 512, 513, 1000, 4000, 4095, 4096, 4097, 8191, 8192, 12345, 65535, 131072, 140000}},
}

// mksquashfs runs mksquashfs, or the one that MKSQUASHFS names.
func mksquashfs(image, tree string, golden bool, options []string) *exec.Cmd {
	args := []string{tree, image, "-quiet", "-no-progress"}
	if golden {
		args = append(args, "-mkfs-time", "1700000000")
	} else {
		args = append(args, "-processors", "1")
	}
	return exec.Command(cmp.Or(os.Getenv("MKSQUASHFS"), "mksquashfs"), append(args, options...)...)
}

// variants are options of mksquashfs. What a version of it doesn't know is skipped.
var variants = [][]string{
	{},
	{"-b", "4K"},
	{"-b", "1M", "-comp", "xz"},
	{"-comp", "xz", "-b", "16K"},
	{"-comp", "lzo"},
	{"-comp", "lzo", "-Xalgorithm", "lzo1x_1", "-b", "64K"},
	{"-comp", "lz4"},
	{"-comp", "lz4", "-Xhc", "-b", "32K"},
	{"-comp", "zstd"},
	{"-comp", "zstd", "-Xcompression-level", "22", "-b", "1M"},
	{"-noI", "-noD", "-noF", "-noX"},
	{"-noId", "-noI"},
	{"-no-fragments"},
	{"-always-use-fragments"},
	{"-no-duplicates", "-no-sparse", "-no-exports", "-no-xattrs"},
	{"-tailends", "-no-hardlinks"},
	{"-xattrs-add", "user.added=to all"},
}

func TestKernel(t *testing.T) { format.TestKernel(t, variants) }

func TestGolden(t *testing.T) {
	format.TestGolden(t, func(d evidence.Description) bool {
		return len(d.Features) >= 2
	})
}
