package analyzer

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"lagan/evidence"
	"lagan/find"
)

// ListOptions say what List gives.
type ListOptions struct {
	Recursive bool       // the path itself and all below it
	Hash      bool       // SHA-256 of regular files
	UpperOnly bool       // only what comes from the container's upper layer
	Sets      *HashSets  // lists that files are compared with; nil: none
	Where     *find.Expr // only what it matches; nil: all
	// ContainerIDs gives owners as they looked inside a container with a user
	// namespace of its own; without one they are those on the disk.
	ContainerIDs bool
}

// File is one file of a tree with all that is known of it.
type File struct {
	Path   string // with a leading slash, any bytes
	Info   evidence.Info
	Target string
	Xattrs map[string][]byte
	SHA256 string
	Layer  string
	// Verity is the fs-verity digest that the overlay demands of the content, where it does.
	Verity string
	// Known and Matches name the lists of ListOptions.Sets that have the content.
	Known, Matches []string

	tree *Tree // that it is a file of
	ino  evidence.Ino
}

// List calls fn for the entries of a folder of the tree, in name order, or for
// the file at path itself. What can't be read is a gap.
func (n *Node) List(ctx context.Context, t *Tree, path string, o ListOptions, fn func(File) error) error {
	start, err := evidence.Resolve(t, t.Root(), path, o.Recursive || strings.HasSuffix(path, "/"))
	if err != nil {
		return fmt.Errorf("%s: %w", t.Name, err)
	}
	prefix := "/" + strings.Join(evidence.Split(path), "/")
	l := lister{n: n, t: t, o: o, fn: fn}
	if o.Where != nil {
		if l.match, err = n.matcher(t, o.Where, time.Time{}); err != nil {
			return err
		}
	}
	if o.ContainerIDs {
		l.owner = n.ownersSeen(t)
	}
	tell := l.file
	ahead := l.hashAhead()
	if ahead != nil {
		tell = ahead.add
	}
	err = evidence.Walk(t.FS, start, func(rel string, e evidence.Entry, info evidence.Info, err error) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		full := prefix
		if rel != "" {
			full = strings.TrimSuffix(prefix, "/") + "/" + rel
		}
		if err != nil {
			n.gap(0, t.Name, fmt.Errorf("%q: %w", full, err))
			return nil
		}
		single := rel == "" && info.Type != evidence.TypeDir
		if rel != "" || o.Recursive || single {
			if err := tell(full, e.Ino, info); err != nil {
				return err
			}
		}
		if rel != "" && !o.Recursive {
			return evidence.SkipDir
		}
		return nil
	})
	if err == nil && ahead != nil {
		err = ahead.flush()
	}
	return err
}

type lister struct {
	n   *Node
	t   *Tree
	o   ListOptions
	fn  func(File) error
	buf []byte
	// match, where set, says which files are told.
	match *matcher
	// owner, if set, gives the owner inside the container of one on the disk.
	owner func(uid, gid uint32) (uint32, uint32)
}

func (l *lister) file(path string, ino evidence.Ino, info evidence.Info) error {
	f := File{Path: path, Info: info, Layer: l.t.LayerOf(ino), tree: l.t, ino: ino}
	if l.o.UpperOnly && f.Layer != "upper" || l.match != nil && !l.match.keeps(path, ino, info) {
		return nil
	}
	if l.owner != nil {
		f.Info.UID, f.Info.GID = l.owner(info.UID, info.GID)
	}
	l.n.guard(0, l.t.Name+": "+path, func() error {
		return l.details(&f, ino)
	})
	if !l.o.Sets.keeps(&f) {
		return nil
	}
	return l.fn(f)
}

// details reads what Stat doesn't say. What can't be read is left out of the
// file and reported.
func (l *lister) details(f *File, ino evidence.Ino) error {
	var failed, err error
	if f.Info.Type == evidence.TypeSymlink {
		if f.Target, err = l.t.ReadLink(ino); err != nil {
			failed = errors.Join(failed, fmt.Errorf("reading link: %w", err))
		}
	}
	if f.Xattrs, err = l.t.Xattrs(ino); err != nil {
		failed = errors.Join(failed, fmt.Errorf("reading attributes: %w", err))
	}
	if (l.o.Hash || l.o.Sets != nil) && f.Info.Type == evidence.TypeFile {
		h, err := l.hashContent(ino)
		if err != nil {
			return errors.Join(failed, fmt.Errorf("hashing: %w", err))
		}
		l.sets(f, h)
		failed = errors.Join(failed, l.seal(f, ino))
	}
	return failed
}

// hashBuffer is how much of a file is read at once for hashing.
const hashBuffer = 1 << 20

// maxHashed bounds the content that is hashed of one file: a sparse file may
// claim 2^60 bytes, which no one could ever hash.
const maxHashed = 1 << 44

// bufferFor returns a buffer that is no larger than what a file needs, which is
// made where the one at hand is too small.
func bufferFor(buf *[]byte, size int64) []byte {
	const least = 4 << 10
	want := int(min(max(size, least), hashBuffer))
	if len(*buf) < want {
		*buf = make([]byte, max(want, min(2*len(*buf), hashBuffer)))
	}
	return *buf
}

func hashOf(r *io.SectionReader, sum hash.Hash, buf *[]byte) (string, error) {
	b, err := digestOf(r, sum, buf)
	return hex.EncodeToString(b), err
}

// digestOf is hashOf's digest as bytes, none where there is an error.
func digestOf(r *io.SectionReader, sum hash.Hash, buf *[]byte) ([]byte, error) {
	if r.Size() > maxHashed {
		return nil, fmt.Errorf("%d bytes are too many to hash: %w", r.Size(), evidence.ErrUnsupported)
	}
	sum.Reset()
	if _, err := io.CopyBuffer(sum, onlyReader{r}, bufferFor(buf, r.Size())); err != nil {
		return nil, err
	}
	return sum.Sum(nil), nil
}

// onlyReader hides WriteTo, so that CopyBuffer uses the buffer it is given.
type onlyReader struct{ io.Reader }
