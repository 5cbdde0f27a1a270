package ext4

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/fixtures"
)

// update makes the images of testdata again with mkfs and the kernel, which
// takes root, and their listings from what the kernel shows.
var update = flag.Bool("update", false, "make testdata again (root)")

func sh(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// unpacked returns the bytes of testdata/NAME.img.gz.
func unpacked(t testing.TB, name string) []byte {
	t.Helper()
	return fixtures.Unpack(t, filepath.Join("testdata", name+".img.gz"))
}

// warnings collects what a filesystem warns of, from each of its goroutines.
type warnings struct {
	mu  sync.Mutex
	all []string
}

func (w *warnings) options() evidence.Options {
	return evidence.Options{Warn: func(err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.all = append(w.all, err.Error())
	}}
}

// told returns the warnings until now.
func (w *warnings) told() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all[:len(w.all):len(w.all)]
}

// opened opens an image and expects no warning.
func opened(t testing.TB, image []byte) *FS {
	t.Helper()
	fs, err := Open(bytes.NewReader(image), int64(len(image)), evidence.Options{Warn: func(err error) { t.Errorf("warning: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

// record is all that is told of one path, in words that compare.
type record struct {
	info   evidence.Info
	target string
	xattrs map[string][]byte
	sum    string
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func (r record) String() string {
	i := r.info
	s := fmt.Sprintf("%s %04o %d:%d links %d inode %d mtime %s", i.Type, i.Perm, i.UID, i.GID, i.Nlink, i.Inode, stamp(i.Mtime))
	for _, at := range []time.Time{i.Atime, i.Ctime, i.Btime} {
		if at.Equal(i.Mtime) {
			s += " ="
		} else {
			s += " " + stamp(at)
		}
	}
	switch i.Type {
	case evidence.TypeChar, evidence.TypeBlock:
		s += fmt.Sprintf(" device %d:%d", i.Major, i.Minor)
	case evidence.TypeSymlink:
		s += fmt.Sprintf(" size %d to %q", i.Size, r.target)
	case evidence.TypeFile:
		s += fmt.Sprintf(" size %d sum %.16s", i.Size, cmp.Or(r.sum, "-"))
	}
	for _, k := range slices.Sorted(maps.Keys(r.xattrs)) {
		v := hex.EncodeToString(r.xattrs[k])
		if len(v) > 40 {
			sum := sha256.Sum256(r.xattrs[k])
			v = fmt.Sprintf("%d bytes %.8s", len(v)/2, hex.EncodeToString(sum[:]))
		}
		s += fmt.Sprintf(" %s=%s", k, v)
	}
	return s
}

// list reads everything that a path leads to, and expects no error.
func list(t testing.TB, fs *FS) map[string]string {
	t.Helper()
	out, errs := listing(fs)
	for _, err := range errs {
		t.Error(err)
	}
	return out
}

func listing(fs *FS) (out map[string]string, errs []error) {
	out = map[string]string{}
	evidence.Walk(fs, fs.Root(), func(path string, e evidence.Entry, info evidence.Info, err error) error {
		if err != nil {
			errs = append(errs, fmt.Errorf("/%s: %w", path, err))
			return nil
		}
		r := record{info: info}
		var failed error
		if r.xattrs, err = fs.Xattrs(e.Ino); err != nil {
			failed = err
		}
		switch info.Type {
		case evidence.TypeSymlink:
			r.target, err = fs.ReadLink(e.Ino)
		case evidence.TypeFile:
			r.sum, err = sum(fs, e.Ino)
		}
		if !errors.Is(err, evidence.ErrUnsupported) {
			failed = errors.Join(failed, err)
		}
		if failed != nil {
			errs = append(errs, fmt.Errorf("/%s: %w", path, failed))
		}
		out["/"+path] = r.String()
		return nil
	})
	return out, errs
}

func sum(fs *FS, ino evidence.Ino) (string, error) {
	f, err := fs.Open(ino)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// compare reports the differences of two listings, the first few in words.
func compare(t testing.TB, want, got map[string]string) {
	t.Helper()
	bad := 0
	tell := func(format string, args ...any) {
		if bad++; bad <= 8 {
			t.Errorf(format, args...)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(want)) {
		switch g, ok := got[path]; {
		case !ok:
			tell("missing: %q", path)
		case g != want[path]:
			tell("%q\n got %s\nwant %s", path, g, want[path])
		}
	}
	for _, path := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[path]; !ok {
			tell("not there: %q", path)
		}
	}
	if bad > 8 {
		t.Errorf("%d differences of %d paths", bad, len(want))
	}
}

// golden reads testdata/NAME.golden: a path in quotes and its record, one a line.
func golden(t testing.TB, name string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".golden"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(b)) {
		var path string
		if _, err := fmt.Sscanf(line, "%q", &path); err != nil {
			t.Fatalf("%s.golden: %q: %v", name, line, err)
		}
		out[path] = strings.TrimSpace(line[len(fmt.Sprintf("%q", path)):])
	}
	return out
}

// crossCheck compares the two ways through a filesystem: disk order and paths.
func crossCheck(t testing.TB, fs *FS) {
	t.Helper()
	type seen struct {
		info   evidence.Info
		target string
		xattrs string
	}
	inodes := map[evidence.Ino]seen{}
	var dirs []evidence.Ino
	for in, err := range fs.Inodes() {
		if err != nil {
			t.Error(err)
			continue
		}
		inodes[in.Ino] = seen{in.Info, in.Target, strings.Join(in.Xattrs, " ")}
		if in.Info.Type == evidence.TypeDir {
			dirs = append(dirs, in.Ino)
		}
	}
	entries := map[evidence.DirEntry]int{}
	for e, err := range fs.Entries(dirs) {
		if err != nil {
			t.Error(err)
			continue
		}
		entries[e]++
	}
	reached := map[evidence.Ino]bool{fs.Root(): true}
	for _, dir := range dirs {
		for e, err := range fs.ReadDir(dir) {
			if err != nil {
				t.Error(err)
				continue
			}
			entries[evidence.DirEntry{Dir: dir, Entry: e}]--
			reached[e.Ino] = true
			info, err := fs.Stat(e.Ino)
			s := seen{info: info}
			if err == nil && info.Type == evidence.TypeSymlink {
				s.target, err = fs.ReadLink(e.Ino)
			}
			xattrs, xerr := fs.Xattrs(e.Ino)
			if err := errors.Join(err, xerr); err != nil {
				t.Error(err)
			}
			s.xattrs = strings.Join(slices.Sorted(maps.Keys(xattrs)), " ")
			if s != inodes[e.Ino] {
				t.Errorf("inode %d: by path %+v, by disk order %+v", e.Ino, s, inodes[e.Ino])
			}
		}
	}
	for e, n := range entries {
		if n != 0 {
			t.Errorf("entry %+v: %d more by disk order than by path", e, n)
		}
	}
	for ino := range inodes {
		if !reached[ino] {
			t.Errorf("inode %d: no path leads to it", ino)
		}
	}
}
