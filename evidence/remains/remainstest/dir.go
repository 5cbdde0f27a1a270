package remainstest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lagan/evidence"
)

// Dir is a folder that a case makes and deletes files in.
type Dir struct {
	t    *testing.T
	dir  string
	rnd  *rand.Rand
	sums map[string]string // of the files that are there
	// Want are the SHA-256 of the deleted files by path, Targets what deleted symbolic links led to.
	Want, Targets map[string]string
}

func (d *Dir) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *Dir) at(name string) string { return filepath.Join(d.dir, name) }

// write appends n bytes to a file and has them written out, so that each piece has its place.
func (d *Dir) write(name string, n int) { d.append(name, n, true) }

func (d *Dir) quick(name string, n int) { d.append(name, n, false) }

func (d *Dir) append(name string, n int, sync bool) {
	d.t.Helper()
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(d.rnd.Uint32())
	}
	d.must(os.MkdirAll(filepath.Dir(d.at(name)), 0o755))
	f, err := os.OpenFile(d.at(name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	d.must(err)
	_, err = f.Write(b)
	d.must(err)
	if sync {
		d.must(f.Sync())
	}
	d.must(f.Close())
	d.sums[name] = ""
}

// holes writes nine pieces far from each other.
func (d *Dir) holes(name string) {
	f, err := os.Create(d.at(name))
	d.must(err)
	for i := range 9 {
		_, err := f.WriteAt([]byte(fmt.Sprint("piece ", i)), int64(i)*70_000)
		d.must(err)
	}
	d.must(f.Sync())
	d.must(f.Close())
	d.sums[name] = ""
}

func (d *Dir) times(name string, t time.Time) { d.must(os.Chtimes(d.at(name), t, t)) }
func (d *Dir) link(name, other string)        { d.must(os.Link(d.at(name), d.at(other))) }
func (d *Dir) mkdir(name string)              { d.must(os.MkdirAll(d.at(name), 0o755)) }
func (d *Dir) fifo(name string)               { d.must(mkfifo(d.at(name))) }
func (d *Dir) symlink(name, target string)    { d.must(os.Symlink(target, d.at(name))) }
func (d *Dir) removeName(name string)         { d.must(os.Remove(d.at(name))); d.Sync() }
func (d *Dir) names(beginning string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(d.sums)), func(n string) bool { return !strings.HasPrefix(n, beginning) })
}

// note keeps what a file is that will be deleted.
func (d *Dir) note(name string) {
	if target, err := os.Readlink(d.at(name)); err == nil {
		d.Targets[name] = target
		return
	}
	info, err := os.Lstat(d.at(name))
	d.must(err)
	if info.Mode().IsRegular() {
		b, err := os.ReadFile(d.at(name))
		d.must(err)
		sum := sha256.Sum256(b)
		d.Want[name] = hex.EncodeToString(sum[:])
	}
}

// remove deletes files, after all was written out.
func (d *Dir) remove(names ...string) {
	d.t.Helper()
	d.Sync()
	for _, name := range names {
		d.note(name)
		d.must(os.Remove(d.at(name)))
		delete(d.sums, name)
	}
	d.Sync()
}

// removeAll deletes a folder with what is in it.
func (d *Dir) removeAll(folder string) {
	d.Sync()
	for _, name := range d.names(folder + "/") {
		d.note(name)
	}
	d.must(os.RemoveAll(d.at(folder)))
	d.Sync()
}

// fill writes new files of some bytes until the filesystem is full or there are most bytes.
func (d *Dir) fill(size, most int) {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(d.rnd.Uint32())
	}
	for i := 0; size >= 1<<20 || i*size < most; i++ {
		if os.WriteFile(d.at(fmt.Sprint("filler-", i)), b, 0o600) != nil {
			break
		}
	}
	d.Sync()
}

// Sync has all written out.
func (d *Dir) Sync() {
	f, err := os.Open(d.dir)
	d.must(err)
	defer f.Close()
	d.must(syncfs(f.Fd()))
}

// Check compares what a filesystem brings back with what was deleted: nothing
// that is called whole has another content, and every file is whole, under its
// path, but for those of a case that loses some.
func (d *Dir) Check(fsys evidence.FS, lossy bool) {
	d.t.Helper()
	var all []evidence.Recovered
	names := map[evidence.Ino]evidence.OldName{}
	for r, err := range fsys.(evidence.Recoverer).Recovered() {
		d.must(err)
		all = append(all, r)
		if r.Info.Type == evidence.TypeDir && len(r.Names) > 0 {
			names[r.Ino] = r.Names[0]
		}
	}
	left, targets := maps.Clone(d.Want), maps.Clone(d.Targets)
	for _, r := range all {
		if len(r.Names) == 0 {
			continue
		}
		name := d.path(fsys, names, r.Names[0])
		if name == "linked" || name == "kept-link" {
			d.t.Errorf("inode %d: %q still has a name, and is told as deleted", r.Ino, name)
		}
		if want, ok := targets[name]; ok && r.Target == want {
			delete(targets, name)
		}
		if sum := d.Want[name]; sum != "" && r.Content != nil && r.State == evidence.ContentWhole {
			d.whole(r, name, sum, left, lossy)
		}
	}
	if lossy {
		d.t.Logf("%d of %d whole", len(d.Want)-len(left), len(d.Want))
		return
	}
	for name := range left {
		d.t.Errorf("%q is not found whole", name)
	}
	for name := range targets {
		d.t.Errorf("the target of %q is not found", name)
	}
}

// whole checks a file that is called whole. In a lossy case a name may have had several files.
func (d *Dir) whole(r evidence.Recovered, name, sum string, left map[string]string, lossy bool) {
	d.t.Helper()
	h := sha256.New()
	_, err := io.Copy(h, r.Content)
	d.must(err)
	switch got := hex.EncodeToString(h.Sum(nil)); {
	case got == sum:
		if name == "times" && !r.Info.Mtime.Equal(Stamp) {
			d.t.Errorf("times: modified %v", r.Info.Mtime)
		}
		delete(left, name)
	case !lossy || !strings.HasPrefix(name, "random-"):
		d.t.Errorf("%q is called whole and has %s, want %s", name, got, sum)
	}
}

// path puts together the path of a deleted file: its folders may be deleted too.
func (d *Dir) path(fsys evidence.FS, names map[evidence.Ino]evidence.OldName, n evidence.OldName) string {
	at := n.Name
	for dir := n.Dir; dir != fsys.Root(); {
		up, ok := names[dir]
		if !ok || len(at) > 4096 {
			return d.living(fsys, dir) + at
		}
		at, dir = up.Name+"/"+at, up.Dir
	}
	return at
}

// living is the path of a folder that is there.
func (d *Dir) living(fsys evidence.FS, dir evidence.Ino) string {
	found := "?/"
	d.must(evidence.Walk(fsys, fsys.Root(), func(rel string, e evidence.Entry, _ evidence.Info, err error) error {
		if e.Ino == dir && e.Type == evidence.TypeDir {
			found = rel + "/"
		}
		return err
	}))
	return found
}

// CheckListed counts what is listed of Listed's objects.
func CheckListed(t *testing.T, fsys evidence.FS, want int) {
	t.Helper()
	types, n, deepest := map[evidence.Type]int{}, 0, 0
	err := evidence.Walk(fsys, fsys.Root(), func(rel string, e evidence.Entry, info evidence.Info, err error) error {
		if err == nil && rel != "" && !strings.HasPrefix(rel, "lost+found") {
			n++
			types[info.Type]++
			deepest = max(deepest, strings.Count(rel, "/"))
		}
		return err
	})
	if err != nil || n != want || deepest != 100 || types[evidence.TypeSymlink] != 1 || types[evidence.TypeFIFO] != 1 || types[evidence.TypeDir] != 101 {
		t.Errorf("%d objects, want %d; the deepest at %d; %v, %v", n, want, deepest, types, err)
	}
}
