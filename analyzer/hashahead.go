package analyzer

import (
	"cmp"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"lagan/evidence"
)

// aheadFiles is how many files are looked at before their contents are hashed:
// enough that those which lie next to each other are among them, and few enough
// that the first line doesn't wait.
const aheadFiles = 8192

// maxHashers bounds how many contents are read at a time: more would make a disk
// go to and fro.
const maxHashers = 4

// listed is a file that a list has met and not told yet.
type listed struct {
	path string
	ino  evidence.Ino
	info evidence.Info
}

// hashAhead hashes the files of a list several at a time, in the order in which
// they lie on the disk and each content once, before they are told in their own
// order. A content that can't be hashed is left to the telling, whose error it is.
type hashAhead struct {
	l       *lister
	pending []listed
}

// hashAhead returns what hashes the files of a list ahead; nil where they are told as
// they are met: none is hashed, or not all are wanted, which is known only then,
// or each object is to be read by itself.
func (l *lister) hashAhead() *hashAhead {
	if !l.o.Hash && l.o.Sets == nil || l.o.UpperOnly || l.match != nil || l.n.options.Begin != nil {
		return nil
	}
	return &hashAhead{l: l}
}

func (a *hashAhead) add(path string, ino evidence.Ino, info evidence.Info) error {
	a.pending = append(a.pending, listed{path, ino, info})
	if len(a.pending) < aheadFiles {
		return nil
	}
	return a.flush()
}

// flush hashes what is waiting, and tells it.
func (a *hashAhead) flush() error {
	a.hash()
	for _, f := range a.pending {
		if err := a.l.file(f.path, f.ino, f.info); err != nil {
			return err
		}
	}
	clear(a.pending)
	a.pending = a.pending[:0]
	return nil
}

// content is one content that is to be hashed.
type content struct {
	ino evidence.Ino // of the tree
	at  contentKey
	off int64 // where it begins
	fs  int   // its filesystem, numbered as they were met
}

// hash hashes the contents of the files that are waiting.
func (a *hashAhead) hash() {
	todo := a.contents()
	if len(todo) < 2 {
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(maxHashers, runtime.GOMAXPROCS(0), len(todo)) {
		wg.Go(func() {
			l := lister{n: a.l.n, t: a.l.t, o: a.l.o}
			for k := next.Add(1) - 1; k < int64(len(todo)); k = next.Add(1) - 1 {
				l.hashQuietly(todo[k].ino)
			}
		})
	}
	wg.Wait()
}

// contents returns what is waiting and not hashed yet, in the order of the disk.
func (a *hashAhead) contents() []content {
	met := make(map[contentKey]bool)
	numbers := make(map[evidence.FS]int)
	var todo []content
	c := &a.l.n.contents
	c.mu.Lock()
	full := len(c.done)+len(a.pending) > maxContentHashes
	for _, f := range a.pending {
		if f.info.Type != evidence.TypeFile || f.info.Size == 0 || full {
			continue
		}
		key := a.l.t.contentOf(f.ino)
		if _, known := c.done[key]; known || met[key] {
			continue
		}
		met[key] = true
		todo = append(todo, content{ino: f.ino, at: key})
	}
	c.mu.Unlock()
	for i := range todo {
		p := locate(todo[i].at.fsys, todo[i].at.ino)
		number, ok := numbers[p.fsys]
		if !ok {
			number = len(numbers)
			numbers[p.fsys] = number
		}
		todo[i].fs, todo[i].off = number, evidence.Place(p.fsys, p.ino)
	}
	slices.SortStableFunc(todo, func(a, b content) int { return cmp.Or(cmp.Compare(a.fs, b.fs), cmp.Compare(a.off, b.off)) })
	return todo
}

// hashQuietly hashes a content for whoever tells the file. What goes wrong here
// goes wrong there again, and is a gap of the file.
func (l *lister) hashQuietly(ino evidence.Ino) {
	defer l.n.patience.begin()()
	defer func() { _ = recover() }()
	_, _ = l.hashContent(ino)
}
