package analyzer

import (
	"errors"
	"fmt"
	"io"
	"iter"

	"lagan/evidence"
)

// A handle of a joined tree holds the volume's place in its upper bits. Linux
// filesystems stay below: XFS numbers inodes up to 2^56-1 (XFS_MAXINUMBER,
// fs/xfs/libxfs/xfs_fs.h), ext4 up to 2^32.
const (
	volumeShift = 56
	inoMask     = 1<<volumeShift - 1
	maxJoined   = 1<<(64-volumeShift) - 1
)

// joined is several filesystems as one tree, each mounted on a directory of
// another, as the node's own mount table had them.
type joined struct {
	parts  []evidence.FS
	mounts map[evidence.Ino]evidence.Ino // directory that is mounted over -> root that is seen there
}

func newJoined(root evidence.FS) *joined {
	return &joined{parts: []evidence.FS{root}, mounts: make(map[evidence.Ino]evidence.Ino)}
}

// mount shows dir of fsys (or, for a bind mount, of a part that is there
// already) at the directory `at` of the joined tree.
func (j *joined) mount(at evidence.Ino, fsys evidence.FS, dir evidence.Ino) error {
	part := -1
	for i, p := range j.parts {
		if p == fsys {
			part = i
		}
	}
	if part < 0 {
		if len(j.parts) >= maxJoined {
			return errors.New("too many volumes")
		}
		part = len(j.parts)
		j.parts = append(j.parts, fsys)
	}
	target, err := handle(part, dir)
	if err != nil {
		return err
	}
	j.mounts[at] = target
	return nil
}

func handle(part int, ino evidence.Ino) (evidence.Ino, error) {
	if ino > inoMask {
		return 0, fmt.Errorf("inode %d is beyond any filesystem's range: %w", uint64(ino), evidence.ErrCorrupt)
	}
	return evidence.Ino(part)<<volumeShift | ino, nil
}

func (j *joined) part(ino evidence.Ino) (evidence.FS, evidence.Ino, error) {
	p := int(ino >> volumeShift)
	if p >= len(j.parts) {
		return nil, 0, fmt.Errorf("inode handle %#x: %w", uint64(ino), evidence.ErrCorrupt)
	}
	return j.parts[p], ino & inoMask, nil
}

// shown turns an entry of a part into one of the joined tree.
func (j *joined) shown(part int, e evidence.Entry) (evidence.Entry, error) {
	h, err := handle(part, e.Ino)
	if err != nil {
		return evidence.Entry{}, fmt.Errorf("%q: %w", e.Name, err)
	}
	e.Ino = h
	if over, ok := j.mounts[h]; ok && (e.Type == evidence.TypeDir || e.Type == evidence.TypeUnknown) {
		e.Ino = over
	}
	return e, nil
}

func (j *joined) Root() evidence.Ino { return j.parts[0].Root() }

func (j *joined) Stat(ino evidence.Ino) (evidence.Info, error) {
	p, i, err := j.part(ino)
	if err != nil {
		return evidence.Info{}, err
	}
	return p.Stat(i)
}

func (j *joined) ReadDir(ino evidence.Ino) iter.Seq2[evidence.Entry, error] {
	return func(yield func(evidence.Entry, error) bool) {
		p, i, err := j.part(ino)
		if err != nil {
			yield(evidence.Entry{}, err)
			return
		}
		for e, err := range p.ReadDir(i) {
			if err == nil {
				e, err = j.shown(int(ino>>volumeShift), e)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func (j *joined) Lookup(dir evidence.Ino, name string) (evidence.Entry, error) {
	p, i, err := j.part(dir)
	if err != nil {
		return evidence.Entry{}, err
	}
	e, err := evidence.Lookup(p, i, name)
	if err != nil {
		return evidence.Entry{}, err
	}
	return j.shown(int(dir>>volumeShift), e)
}

func (j *joined) ReadLink(ino evidence.Ino) (string, error) {
	p, i, err := j.part(ino)
	if err != nil {
		return "", err
	}
	return p.ReadLink(i)
}

func (j *joined) Xattrs(ino evidence.Ino) (map[string][]byte, error) {
	p, i, err := j.part(ino)
	if err != nil {
		return nil, err
	}
	return p.Xattrs(i)
}

func (j *joined) Open(ino evidence.Ino) (*io.SectionReader, error) {
	p, i, err := j.part(ino)
	if err != nil {
		return nil, err
	}
	return p.Open(i)
}
