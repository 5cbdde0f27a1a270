package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"lagan/analyzer"
	"lagan/evidence"
	"lagan/fixtures"
)

// root is the folder of the module: the harness runs from anywhere in it.
var root = sync.OnceValue(func() string { return filepath.Dir(filepath.Dir(fixtures.Path("x"))) })

// maxSeed bounds a seed: a mutant is read whole, many thousand times.
const maxSeed = 64 << 20

// packed are the files of a pattern, unpacked.
func packed(pattern string) func() ([]seed, error) {
	return func() ([]seed, error) {
		files, err := filepath.Glob(filepath.Join(root(), pattern))
		if err != nil {
			return nil, err
		}
		var seeds []seed
		for _, f := range files {
			b, err := unpack(f)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f, err)
			}
			if len(b) <= maxSeed {
				seeds = append(seeds, newSeed(filepath.Base(f), b))
			}
		}
		if len(seeds) == 0 {
			return nil, fmt.Errorf("nothing matches %s", pattern)
		}
		return seeds, nil
	}
}

func unpack(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader
	switch filepath.Ext(file) {
	case ".gz":
		r, err = gzip.NewReader(f)
	default:
		r, err = zstd.NewReader(f, zstd.WithDecoderMaxWindow(128<<20))
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, maxSeed+1))
}

func text(contents ...string) func() ([]seed, error) {
	return func() ([]seed, error) {
		var seeds []seed
		for i, c := range contents {
			seeds = append(seeds, newSeed(fmt.Sprint(i), []byte(c)))
		}
		return seeds, nil
	}
}

// small is a filesystem's image that the containers of disks hold.
func small() ([]byte, error) {
	return unpack(filepath.Join(root(), "evidence/ext4/testdata/ext2.img.gz"))
}

// made runs a tool over a small raw disk, once for each list of options that
// "|" separates, and takes the file that it makes.
func made(name string, options []string, args func(raw, out string, options []string) []string) ([]seed, error) {
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	b, err := small()
	if err != nil {
		return nil, err
	}
	raw := filepath.Join(dir, "raw")
	if err := os.WriteFile(raw, b, 0o600); err != nil {
		return nil, err
	}
	var seeds []seed
	for i, o := range split(options) {
		out := filepath.Join(dir, fmt.Sprint("out", i))
		argv := args(raw, out, o)
		if said, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return nil, missing(argv[0], fmt.Errorf("%w: %s", err, said))
		}
		made, err := filepath.Glob(out + "*")
		if err != nil || len(made) == 0 {
			return nil, fmt.Errorf("%s made nothing", argv[0])
		}
		b, err := os.ReadFile(made[0])
		if err != nil {
			return nil, err
		}
		seeds = append(seeds, newSeed(name, b))
	}
	return seeds, nil
}

func split(options []string) [][]string {
	lists := [][]string{nil}
	for _, o := range options {
		if o == "|" {
			lists = append(lists, nil)
			continue
		}
		lists[len(lists)-1] = append(lists[len(lists)-1], o)
	}
	return lists
}

func converted(name string, options ...string) func() ([]seed, error) {
	return func() ([]seed, error) {
		return made(name, options, func(raw, out string, o []string) []string {
			return append(append([]string{"qemu-img", "convert", "-f", "raw", "-O", name}, o...), raw, out)
		})
	}
}

func acquired() ([]seed, error) {
	return made("ewf", []string{"deflate:fast", "|", "deflate:none"}, func(raw, out string, o []string) []string {
		return []string{"ewfacquire", "-u", "-q", "-t", out, "-f", "encase6", "-c", o[0], raw}
	})
}

// partitioned are disks with a GPT and with an MBR that has logical partitions.
func partitioned() ([]seed, error) {
	var seeds []seed
	for _, script := range []string{
		"label: gpt\nstart=2048, size=2048\nstart=4096, size=2048, name=data\n",
		"label: dos\nstart=2048, size=2048, type=83\nstart=4096, type=5\nstart=4608, size=512, type=83\nstart=5632, size=512, type=8e\n",
	} {
		f, err := os.CreateTemp("", "mutants-")
		if err != nil {
			return nil, err
		}
		defer os.Remove(f.Name())
		defer f.Close()
		if err := f.Truncate(4 << 20); err != nil {
			return nil, err
		}
		cmd := exec.Command("sfdisk", "-q", "--no-reread", "--no-tell-kernel", f.Name())
		cmd.Stdin = strings.NewReader(script)
		if said, err := cmd.CombinedOutput(); err != nil {
			return nil, missing("sfdisk", fmt.Errorf("%w: %s", err, said))
		}
		b, err := os.ReadFile(f.Name())
		if err != nil {
			return nil, err
		}
		seeds = append(seeds, newSeed("disk", b))
	}
	return seeds, nil
}

func sqliteFiles() ([]seed, error) {
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	db := filepath.Join(dir, "db.sql")
	sql := `PRAGMA page_size=512; CREATE TABLE ContainerConfig(ID TEXT PRIMARY KEY, Name TEXT UNIQUE, PodID TEXT, JSON TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<200)
INSERT INTO ContainerConfig SELECT hex(randomblob(32)), 'name'||i, NULL, '{"image":"'||hex(zeroblob(i*7))||'"}' FROM n; DELETE FROM ContainerConfig WHERE rowid%3=0;`
	if said, err := exec.Command("sqlite3", db, sql).CombinedOutput(); err != nil {
		return nil, missing("sqlite3", fmt.Errorf("%w: %s", err, said))
	}
	b, err := os.ReadFile(db)
	return []seed{newSeed("db.sql", b)}, err
}

// layerTars are tars in both of the common forms, with what layers hold.
func layerTars() ([]seed, error) {
	var seeds []seed
	for _, format := range []tar.Format{tar.FormatPAX, tar.FormatGNU} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for i := range 40 {
			content := bytes.Repeat([]byte{byte(i)}, i*100)
			h := &tar.Header{Name: fmt.Sprintf("d%d/%s/f%d", i%7, strings.Repeat("n", i*9), i), Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg, Format: format}
			switch i % 8 {
			case 3:
				h.Typeflag, h.Linkname, h.Size, content = tar.TypeSymlink, strings.Repeat("../", i), 0, nil
			case 5:
				h.Typeflag, h.Linkname, h.Size, content = tar.TypeLink, "d0/f0", 0, nil
			case 6:
				h.Name, h.Size, content = fmt.Sprintf("d%d/.wh.f%d", i%7, i), 0, nil
			}
			if format == tar.FormatPAX {
				h.PAXRecords = map[string]string{"SCHILY.xattr.user.name": "value", "SCHILY.xattr.security.capability": "\x01\x00\x00\x02"}
			}
			if err := w.WriteHeader(h); err != nil {
				return nil, err
			}
			if _, err := w.Write(content); err != nil {
				return nil, err
			}
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		seeds = append(seeds, newSeed("tar", b.Bytes()))
	}
	return seeds, nil
}

// node opens a disk of fixtures; what is unpacked is kept for the next child.
func node(name string) (*analyzer.Node, error) {
	cache := filepath.Join(os.TempDir(), "lagan-mutants")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return nil, err
	}
	return analyzer.Open(background(), fixtures.Path(name+".img.zst"), analyzer.Options{CacheDir: cache, NoScan: true})
}

// maxNodeFile bounds the files of a node that are taken as seeds.
const maxNodeFile = 4 << 20

// nodeFiles are files of the disks, those that are there.
func nodeFiles(paths ...string) func() ([]seed, error) {
	return func() ([]seed, error) {
		var seeds []seed
		for _, name := range fixtures.Names {
			n, err := node(name)
			if err != nil {
				return nil, err
			}
			for _, p := range paths {
				if b, err := evidence.ReadFile(n.Tree, n.Tree.Root(), p, maxNodeFile); err == nil && len(b) > 0 {
					seeds = append(seeds, newSeed(p, b))
				}
			}
			n.Close()
		}
		if len(seeds) == 0 {
			return nil, fmt.Errorf("no disk has %q", paths)
		}
		return seeds, nil
	}
}

func boltFiles() ([]seed, error) {
	return nodeFiles(
		"/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db",
		"/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/metadata.db",
		"/var/lib/docker/network/files/local-kv.db", "/var/lib/docker/volumes/metadata.db", "/var/lib/containers/storage/libpod/bolt_state.db")()
}
