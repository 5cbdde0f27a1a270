package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"lagan/evidence"
	"lagan/evidence/volume"
	"lagan/internal/sqlite"
	"lagan/layers"
	"lagan/runtimes/boltdb"
)

// open makes one function type of what each filesystem's Open returns.
func open[F evidence.FS](f func(io.ReaderAt, int64, evidence.Options) (F, error)) func(*mutant, func(error)) (evidence.FS, error) {
	return func(m *mutant, warn func(error)) (evidence.FS, error) {
		return f(m, m.Size(), evidence.Options{Warn: warn})
	}
}

// maxContent bounds what is read of one file: a damaged size may name an exabyte of holes.
const maxContent = 1 << 20

// filesystem reads all there is in a filesystem: every path with its
// attributes and content, every inode in the order of the disk, what was deleted.
func filesystem(open func(*mutant, func(error)) (evidence.FS, error)) func(*mutant, func(error)) {
	return func(m *mutant, told func(error)) {
		fsys, err := open(m, told)
		if err != nil {
			told(err)
			return
		}
		evidence.Describe(fsys)
		began := time.Now()
		told(evidence.Walk(fsys, fsys.Root(), func(_ string, e evidence.Entry, info evidence.Info, err error) error {
			told(err)
			if err == nil {
				readInode(fsys, e.Ino, info, told)
			}
			if time.Since(began) > maxSeconds/2*time.Second {
				return errors.New("the walk is long: a damaged tree may be wide")
			}
			return nil
		}))
		if s, ok := fsys.(evidence.Scanner); ok {
			var dirs []evidence.Ino
			for i, err := range s.Inodes() {
				if told(err); err == nil && i.Info.Type == evidence.TypeDir && len(dirs) < 10000 {
					dirs = append(dirs, i.Ino)
				}
			}
			drain(s.Entries(dirs), told)
		}
		if d, ok := fsys.(evidence.Deleter); ok {
			drain(d.Deleted(), told)
		}
		if r, ok := fsys.(evidence.Recoverer); ok {
			drain(r.Recovered(), told)
		}
	}
}

func readInode(fsys evidence.FS, ino evidence.Ino, info evidence.Info, told func(error)) {
	_, err := fsys.Xattrs(ino)
	told(err)
	switch info.Type {
	case evidence.TypeSymlink:
		_, err = fsys.ReadLink(ino)
		told(err)
	case evidence.TypeFile:
		f, err := fsys.Open(ino)
		if told(err); err == nil {
			_, err = io.CopyN(io.Discard, f, min(f.Size(), maxContent))
			told(err)
		}
	}
}

type disk interface {
	io.ReaderAt
	Size() int64
}

// container reads a disk out of a container of disks: its first and last
// mebibytes, and some of what lies between.
func container(open func(*mutant, func(error)) (disk, error)) func(*mutant, func(error)) {
	return func(m *mutant, told func(error)) {
		d, err := open(m, told)
		if err != nil {
			told(err)
			return
		}
		block := make([]byte, 64<<10)
		step := max(d.Size()/64, int64(len(block)))
		for at := int64(0); at >= 0 && at < d.Size(); at += step {
			if _, err := d.ReadAt(block, at); err != nil && !errors.Is(err, io.EOF) {
				told(err)
			}
		}
	}
}

func readVolumes(m *mutant, told func(error)) {
	volumes, err := volume.Scan(m, m.Size(), told)
	told(err)
	volume.Assemble(volumes, told)
}

func readTar(m *mutant, told func(error)) {
	t, err := layers.OpenTar(m, m.Size(), layers.TarOptions{})
	told(err)
	if t != nil {
		filesystem(func(*mutant, func(error)) (evidence.FS, error) { return t, nil })(m, told)
	}
}

func readBolt(m *mutant, told func(error)) {
	db, err := boltdb.Open(m, m.Size(), told)
	if err != nil {
		told(err)
		return
	}
	readBucket(db.Root(), told, 0)
	for p, err := range db.Pages() {
		told(err)
		drain(db.Leaf(p.ID), told)
	}
	drain(db.Remnants(), told)
	drain(db.Fragments(), told)
	if old, err := db.Previous(); err == nil {
		readBucket(old.Root(), told, 0)
	}
}

// maxBuckets bounds how deep buckets are followed.
const maxBuckets = 64

func readBucket(b *boltdb.Bucket, told func(error), depth int) {
	for kv, err := range b.All() {
		told(err)
		switch {
		case err != nil:
		case !kv.IsBucket():
			_, err := kv.Value()
			told(err)
		case depth < maxBuckets:
			below, err := kv.Bucket()
			if told(err); err == nil {
				readBucket(below, told, depth+1)
			}
		}
	}
}

func readSQLite(m *mutant, told func(error)) {
	db, err := sqlite.Open(m, nil, nil, told)
	if err != nil {
		told(err)
		return
	}
	for t, err := range db.Tables() {
		if told(err); err == nil {
			drain(db.Rows(t.Name), told)
		}
	}
	drain(db.Remnants(), told)
}

// stream reads a log to its end.
func stream[T any](read func(io.Reader) iter.Seq2[T, error]) func(*mutant, func(error)) {
	return func(m *mutant, told func(error)) {
		drain(read(io.NewSectionReader(m, 0, m.Size())), told)
	}
}

func drain[T any](s iter.Seq2[T, error], told func(error)) {
	for _, err := range s {
		told(err)
	}
}

var errNoTool = errors.New("the tool that makes this seed is missing")

// background is what the harness opens fixtures with.
func background() context.Context { return context.Background() }

func missing(tool string, err error) error { return fmt.Errorf("%w: %s: %w", errNoTool, tool, err) }
