package analyzer

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"lagan/evidence"
)

// A handle of a joined tree holds the part's place in its upper bits. Linux
// filesystems mostly stay below: XFS numbers inodes up to 2^56-1 (XFS_MAXINUMBER,
// fs/xfs/libxfs/xfs_fs.h), ext4 up to 2^32. A part whose handles need more gets
// numbers from a table, under the part's place with the top bit set.
const (
	partShift = 56
	inoMask   = 1<<partShift - 1
	tabled    = 1 << 7 // of the place
	maxParts  = tabled - 1
)

// joined is several filesystems as one tree, each mounted on a directory of
// another, as the node's own mount table had them.
type joined struct {
	parts  []evidence.FS
	root   evidence.Ino
	mounts map[evidence.Ino]evidence.Ino // directory that is mounted over -> directory that is seen there

	mu    sync.RWMutex
	large []evidence.Ino // handles that are too large for a joined handle
	place map[largeIno]evidence.Ino
}

type largeIno struct {
	part int
	ino  evidence.Ino
}

func newJoined(root evidence.FS, dir evidence.Ino) *joined {
	j := &joined{parts: []evidence.FS{root}, mounts: make(map[evidence.Ino]evidence.Ino), place: make(map[largeIno]evidence.Ino)}
	j.root = j.handle(0, dir)
	return j
}

// mount shows dir of fsys at the directory `at` of the joined tree. fsys may be
// a part that is there already.
func (j *joined) mount(at evidence.Ino, fsys evidence.FS, dir evidence.Ino) error {
	part := -1
	for i, p := range j.parts {
		if p == fsys {
			part = i
		}
	}
	if part < 0 {
		if len(j.parts) >= maxParts {
			return errors.New("too many volumes")
		}
		part = len(j.parts)
		j.parts = append(j.parts, fsys)
	}
	j.mounts[at] = j.handle(part, dir)
	return nil
}

func (j *joined) handle(part int, ino evidence.Ino) evidence.Ino {
	if ino <= inoMask {
		return evidence.Ino(part)<<partShift | ino
	}
	key := largeIno{part, ino}
	j.mu.RLock()
	h, ok := j.place[key]
	j.mu.RUnlock()
	if ok {
		return h
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if h, ok := j.place[key]; ok {
		return h
	}
	h = evidence.Ino(part|tabled)<<partShift | evidence.Ino(len(j.large))
	j.large = append(j.large, ino)
	j.place[key] = h
	return h
}

// part returns the filesystem that a handle is of, its place and its own handle there.
func (j *joined) part(h evidence.Ino) (evidence.FS, int, evidence.Ino, error) {
	p, ino := int(h>>partShift), h&inoMask
	if p&tabled != 0 {
		p &^= tabled
		j.mu.RLock()
		defer j.mu.RUnlock()
		if ino >= evidence.Ino(len(j.large)) {
			return nil, 0, 0, fmt.Errorf("inode handle %#x: %w", uint64(h), evidence.ErrCorrupt)
		}
		ino = j.large[ino]
	}
	if p >= len(j.parts) {
		return nil, 0, 0, fmt.Errorf("inode handle %#x: %w", uint64(h), evidence.ErrCorrupt)
	}
	return j.parts[p], p, ino, nil
}

// shown turns an entry of a part into one of the joined tree.
func (j *joined) shown(part int, e evidence.Entry) evidence.Entry {
	e.Ino = j.handle(part, e.Ino)
	if over, ok := j.mounts[e.Ino]; ok && (e.Type == evidence.TypeDir || e.Type == evidence.TypeUnknown) {
		e.Ino = over
	}
	return e
}

func (j *joined) Root() evidence.Ino {
	if over, ok := j.mounts[j.root]; ok {
		return over
	}
	return j.root
}

func (j *joined) Stat(h evidence.Ino) (evidence.Info, error) {
	p, _, ino, err := j.part(h)
	if err != nil {
		return evidence.Info{}, err
	}
	return p.Stat(ino)
}

func (j *joined) ReadDir(h evidence.Ino) iter.Seq2[evidence.Entry, error] {
	return func(yield func(evidence.Entry, error) bool) {
		p, place, ino, err := j.part(h)
		if err != nil {
			yield(evidence.Entry{}, err)
			return
		}
		for e, err := range p.ReadDir(ino) {
			if err == nil {
				e = j.shown(place, e)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func (j *joined) Lookup(dir evidence.Ino, name string) (evidence.Entry, error) {
	p, place, ino, err := j.part(dir)
	if err != nil {
		return evidence.Entry{}, err
	}
	e, err := evidence.Lookup(p, ino, name)
	if err != nil {
		return evidence.Entry{}, err
	}
	return j.shown(place, e), nil
}

func (j *joined) ReadLink(h evidence.Ino) (string, error) {
	p, _, ino, err := j.part(h)
	if err != nil {
		return "", err
	}
	return p.ReadLink(ino)
}

func (j *joined) Xattrs(h evidence.Ino) (map[string][]byte, error) {
	p, _, ino, err := j.part(h)
	if err != nil {
		return nil, err
	}
	return p.Xattrs(ino)
}

func (j *joined) Open(h evidence.Ino) (*io.SectionReader, error) {
	p, _, ino, err := j.part(h)
	if err != nil {
		return nil, err
	}
	return p.Open(ino)
}
