package export

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"lagan/evidence"
	"lagan/internal/durable"
)

// What Dir makes in the folder that it is given.
const (
	// Manifest has a line for every name of the tree, written or not.
	Manifest = "MANIFEST.jsonl"
	// Files is the folder that the tree is written to.
	Files = "rootfs"
)

// DirOptions are the options of Dir.
type DirOptions struct {
	Options
	// Links makes symbolic links, with whatever target they have, and hard
	// links. Without it they are recorded.
	Links bool
	// Preserve gives files and folders the modes and times that they had, but
	// never setuid, setgid or sticky, and folders stay open to their owner.
	Preserve bool
}

// Dir writes the source into the folder at path, which must be empty or not be
// there: regular files (0600) and folders (0700) to Files, and all that is known
// of every name to Manifest. Devices, fifos, sockets and whiteouts are recorded
// only. Holes stay holes. The folder appears whole or not at all: it is
// written beside, synced and renamed.
//
// Nothing is written outside the folder: every name is made new (O_EXCL, which
// follows no link) in a folder that was made before, through one os.Root, which
// itself never leaves the folder. A name that the host can't hold, or that it
// takes for another's, is written under an escaped one, which the manifest has.
func Dir(ctx context.Context, path string, s Source, o DirOptions) (err error) {
	path = filepath.Clean(path)
	if err := isFree(path); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp)) // which follows no link
		}
	}()
	root, err := os.OpenRoot(tmp)
	if err != nil {
		return err
	}
	err = write(ctx, root, s, o)
	if err := errors.Join(err, root.Close()); err != nil {
		return err
	}
	return durable.Folder(tmp, path)
}

// isFree says whether path can become a new folder.
func isFree(path string) error {
	list, err := os.ReadDir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && len(list) > 0:
		return fmt.Errorf("%s is not empty; name a new folder", path)
	}
	return err
}

func write(ctx context.Context, into *os.Root, s Source, o DirOptions) error {
	m, err := into.OpenFile(Manifest, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := into.Mkdir(Files, 0o700); err != nil {
		return err
	}
	d := &dirWriter{ctx: ctx, s: s, o: &o, root: into, m: newManifest(m), sum: sha256.New(), buf: make([]byte, copyBuffer)}
	d.above = []folder{{host: Files, at: place{into, Files}, in: place{into, Files}}}
	defer d.close()
	if err := d.parents(); err != nil {
		return err
	}
	if err := walk(ctx, s, &o.Options, d.item); err != nil {
		return err
	}
	for len(d.above) > 0 {
		if err := d.leave(); err != nil {
			return err
		}
	}
	if err := d.m.w.Flush(); err != nil {
		return err
	}
	return m.Close()
}

// folder is one that the walk is in.
type folder struct {
	path string // in the tree
	host string // from the root
	at   place  // the folder, seen from above
	in   place  // the folder, as what is in it is named
	info evidence.Info
}

// place is a name on the host.
type place struct {
	root *os.Root
	path string
}

func (p place) join(name string) place { return place{p.root, p.path + "/" + name} }

// rootEvery is after how many levels a folder gets an os.Root of its own: one
// walks every element of a name each time, and a folder may be 4096 deep.
const rootEvery = 64

// enter makes a folder the innermost.
func (d *dirWriter) enter(f folder, base string) error {
	f.at = d.above[len(d.above)-1].in.join(base)
	f.in = f.at
	if len(d.above)%rootEvery == 0 {
		root, err := f.at.root.OpenRoot(f.at.path)
		if err != nil {
			return err
		}
		f.in = place{root, "."}
	}
	d.above = append(d.above, f)
	return nil
}

// close closes the roots that are still open where the walk ended early.
func (d *dirWriter) close() {
	for _, f := range d.above {
		if f.in.root != f.at.root {
			f.in.root.Close()
		}
	}
}

type dirWriter struct {
	ctx     context.Context
	s       Source
	o       *DirOptions
	root    *os.Root
	m       *manifest
	above   []folder
	links   links
	hosts   map[evidence.Ino]string // of inodes with several names: where the first is
	sum     hash.Hash
	buf     []byte
	entries int64
}

// parents makes the folders that the source's path leads through.
func (d *dirWriter) parents() error {
	elements := evidence.Split(d.s.Path)
	for i := range max(len(elements)-1, 0) {
		path := strings.Join(elements[:i+1], "/")
		host, err := d.place(elements[i], func(p place) error { return p.root.Mkdir(p.path, 0o700) })
		if err != nil {
			return err
		}
		if err := d.enter(folder{path: path, host: host}, filepath.Base(host)); err != nil {
			return err
		}
	}
	return nil
}

// item writes one name of the tree and records it.
func (d *dirWriter) item(i item) error {
	dir, base := "", i.path
	if at := strings.LastIndexByte(i.path, '/'); at >= 0 {
		dir, base = i.path[:at], i.path[at+1:]
	}
	if i.path != "" {
		for len(d.above) > 1 && d.above[len(d.above)-1].path != dir {
			if err := d.leave(); err != nil {
				return err
			}
		}
	}
	r := newRecord(i)
	if !i.whiteout {
		r.attributes(d.o.attributes(d.s.FS, i))
		if err := d.create(r, i, base); err != nil {
			return err
		}
	}
	if d.entries++; d.o.Progress != nil {
		d.o.Progress(d.entries)
	}
	return d.m.write(r)
}

// create writes what is to be written of an inode. Its errors are the host's.
func (d *dirWriter) create(r *record, i item, base string) error {
	if first := d.links.of(i, &d.o.Options); first != "" {
		r.Hardlink, r.HrdRaw = name("/" + first)
		if old := d.hosts[i.ino]; old != "" {
			d.link(r, i, base, func(p place) error {
				host := d.above[len(d.above)-1].host + "/" + filepath.Base(p.path)
				if strings.Count(old+host, "/") > 2*rootEvery {
					return fmt.Errorf("too deep for a hard link: %w", evidence.ErrUnsupported)
				}
				return d.root.Link(old, host)
			})
		}
		return nil
	}
	switch i.info.Type {
	case evidence.TypeDir:
		return d.folder(r, i, base)
	case evidence.TypeFile:
		return d.file(r, i, base)
	case evidence.TypeSymlink:
		target := d.o.target(d.s.FS, i)
		r.Target, r.TgtRaw = name(target)
		if d.o.Links {
			d.link(r, i, base, func(p place) error {
				if target == "" || len(target) > maxTarget {
					return fmt.Errorf("target of %d bytes: %w", len(target), evidence.ErrUnsupported)
				}
				return p.root.Symlink(target, p.path)
			})
		}
	}
	return nil
}

// maxTarget is the longest target that Linux makes a link to: PATH_MAX and its NUL.
const maxTarget = 4095

// link makes a link. That the host can't is no reason to end: a full disk shows
// at the next file.
func (d *dirWriter) link(r *record, i item, base string, create func(place) error) {
	if _, err := d.written(r, base, create); err != nil {
		d.o.gap("/"+i.path, fmt.Errorf("the link is only in the manifest: %w", err))
	}
}

func (d *dirWriter) folder(r *record, i item, base string) error {
	if i.path == "" {
		d.above[0].info = i.info
		r.Written = Files
		return nil
	}
	host, err := d.written(r, base, func(p place) error { return p.root.Mkdir(p.path, 0o700) })
	if err != nil {
		return err
	}
	return d.enter(folder{path: i.path, host: host, info: i.info}, filepath.Base(host))
}

func (d *dirWriter) file(r *record, i item, base string) error {
	var f *os.File
	var made place
	host, err := d.written(r, base, func(p place) (err error) {
		made = p
		f, err = p.root.OpenFile(p.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		return err
	})
	if err != nil {
		return err
	}
	defer f.Close()
	if i.info.Nlink > 1 && d.o.Links && !d.links.full {
		if d.hosts == nil {
			d.hosts = make(map[evidence.Ino]string)
		}
		d.hosts[i.ino] = host
	}
	c := d.o.open(d.ctx, d.s.FS, i)
	d.sum.Reset()
	if err := d.copy(f, c); err != nil {
		return err
	}
	c.end()
	r.SHA256, r.Lost = hex.EncodeToString(d.sum.Sum(nil)), c.lost
	if c.r == nil {
		r.SHA256, r.Lost = "", i.info.Size
	}
	if d.o.Preserve {
		if err := f.Chmod(fs.FileMode(i.info.Perm & 0o777)); err != nil {
			return err
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	return d.times(made, i.info)
}

// copy writes a file's content, what is zeros as holes.
func (d *dirWriter) copy(f *os.File, c *content) error {
	const block = 4096
	var off int64
	for {
		n, err := c.Read(d.buf)
		d.sum.Write(d.buf[:n])
		for b := d.buf[:n]; len(b) > 0; {
			piece := b[:min(len(b), block)]
			b = b[len(piece):]
			if !bytes.Equal(piece, zeros[:len(piece)]) {
				// what follows up to a hole is written at once
				for len(b) > 0 && !bytes.Equal(b[:min(len(b), block)], zeros[:min(len(b), block)]) {
					piece = piece[:len(piece)+min(len(b), block)]
					b = b[min(len(b), block):]
				}
				if _, err := f.WriteAt(piece, off); err != nil {
					return err
				}
			}
			off += int64(len(piece))
		}
		if err == io.EOF {
			return f.Truncate(off)
		}
		if err != nil {
			return err
		}
	}
}

var zeros [4096]byte

// written places a name and records where.
func (d *dirWriter) written(r *record, base string, create func(place) error) (string, error) {
	host, err := d.place(base, create)
	if err == nil {
		r.Written, r.WrtRaw = name(host)
	}
	return host, err
}

// maxTries bounds the names that are tried for one that is taken.
const maxTries = 100

// place calls create with a name in the innermost folder that nothing has yet,
// and returns it from the root.
func (d *dirWriter) place(base string, create func(place) error) (string, error) {
	dir := d.above[len(d.above)-1]
	err := error(fs.ErrInvalid)
	if filepath.IsLocal(base) && filepath.Base(base) == base { // also refuses the names of devices that Windows knows
		if err = create(dir.in.join(base)); !isName(err) {
			return dir.host + "/" + base, err
		}
	}
	hash, other := sha256.Sum256([]byte(base)), ""
	for try := 0; try < maxTries && isName(err); try++ {
		other = escaped(base, hash[:], try)
		err = create(dir.in.join(other))
	}
	return dir.host + "/" + other, err
}

// isName says whether a host refused a name, which another name may help.
func isName(err error) bool {
	for _, e := range [...]error{fs.ErrExist, fs.ErrInvalid, syscall.ENAMETOOLONG, syscall.EILSEQ, syscall.EINVAL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// leave ends the innermost folder: its mode and times are set when nothing is
// made in it any more.
func (d *dirWriter) leave() error {
	f := d.above[len(d.above)-1]
	d.above = d.above[:len(d.above)-1]
	if f.in.root != f.at.root {
		if err := f.in.root.Close(); err != nil {
			return err
		}
	}
	if !d.o.Preserve || f.info.Type != evidence.TypeDir {
		return nil
	}
	if err := f.at.root.Chmod(f.at.path, fs.FileMode(f.info.Perm&0o777)|0o700); err != nil {
		return err
	}
	return d.times(f.at, f.info)
}

// times sets a file's times, those that are known.
func (d *dirWriter) times(p place, info evidence.Info) error {
	if !d.o.Preserve || info.Mtime.IsZero() {
		return nil
	}
	if err := p.root.Chtimes(p.path, info.Atime, info.Mtime); err != nil {
		d.o.gap(p.path, fmt.Errorf("setting times: %w", err))
	}
	return nil
}
