package squashfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"lagan/evidence"
)

// file reads a file's blocks, which lie one behind the other, and its tail in a
// fragment: squashfs_readpage (file.c). The list of the blocks' lengths follows
// the inode; every so many blocks the place is kept, as adding up from the
// beginning for each read would take the square of the file's length.
type file struct {
	fs *FS
	in inode

	mu     sync.Mutex
	blocks uint64
	marks  []mark // one every so many blocks
	every  uint64
	next   mark  // behind the block last looked for
	last   int64 // the block in data, -1 none
	data   []byte
}

// mark is where a block lies, and where its length stands in the inode table.
type mark struct {
	block uint64
	pos   uint64
	list  uint64 // a metadata block
	off   int    // in it
}

// markEvery is how many blocks there are from one mark to the next, at first;
// maxMarks is when every second is dropped.
const (
	markEvery = 1024
	maxMarks  = 4096
)

func newFile(f *FS, in inode) *file {
	first := mark{pos: in.start, list: in.rest.block.pos, off: in.rest.off}
	r := &file{fs: f, in: in, last: -1, marks: []mark{first}, every: markEvery, next: first}
	r.blocks = in.size >> f.sb.blockLog
	if in.fragment == invalidFragment && in.size&uint64(f.sb.blockSize-1) != 0 {
		r.blocks++
	}
	return r
}

// ReadAt implements io.ReaderAt within the file's size.
func (r *file) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 || uint64(off) >= r.in.size {
		return 0, io.EOF
	}
	var end error
	if left := r.in.size - uint64(off); uint64(len(b)) > left {
		b, end = b[:left], io.EOF
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	done := 0
	for done < len(b) {
		n, err := r.read(b[done:], uint64(off)+uint64(done))
		if err != nil {
			return done, fmt.Errorf("inode %d: %w", r.in.number, err)
		}
		done += n
	}
	return done, end
}

func (r *file) read(b []byte, pos uint64) (int, error) {
	i := pos >> r.fs.sb.blockLog
	within := pos & uint64(r.fs.sb.blockSize-1)
	size := min(uint64(r.fs.sb.blockSize), r.in.size-i<<r.fs.sb.blockLog)
	b = b[:min(uint64(len(b)), size-within)]
	if i >= r.blocks {
		return r.readTail(b, within)
	}
	if r.last != int64(i) {
		if err := r.load(i, size); err != nil {
			return 0, err
		}
	}
	if r.data == nil {
		clear(b)
		return len(b), nil
	}
	return copy(b, r.data[within:]), nil
}

// load reads a block; nil data is a hole.
func (r *file) load(i, size uint64) error {
	pos, length, err := r.place(i)
	if err != nil {
		return err
	}
	r.last, r.data = -1, nil
	if length > 0 {
		data, err := r.fs.dataBlock(pos, length)
		if err != nil {
			return err
		}
		if uint64(len(data)) != size {
			return fmt.Errorf("block %d at %#x: %d bytes of %d: %w", i, pos, len(data), size, evidence.ErrCorrupt)
		}
		r.data = data
	}
	r.last = int64(i)
	return nil
}

// dataBlock reads and decompresses a block of data.
func (f *FS) dataBlock(pos uint64, length uint32) ([]byte, error) {
	size := length &^ dataPlain
	if size > f.sb.blockSize || length>>25 != 0 {
		return nil, fmt.Errorf("block at %#x: %#x bytes on disk: %w", pos, length, evidence.ErrCorrupt)
	}
	raw := make([]byte, size)
	if err := f.read(raw, pos); err != nil {
		return nil, err
	}
	if length&dataPlain != 0 {
		return raw, nil
	}
	data, err := f.dec.decode(raw, int(f.sb.blockSize))
	if err != nil {
		return nil, fmt.Errorf("block at %#x: %w", pos, err)
	}
	return data, nil
}

// place returns where a block lies and its length on the disk.
func (r *file) place(i uint64) (pos uint64, length uint32, err error) {
	at := r.marks[min(i/r.every, uint64(len(r.marks)-1))]
	if r.next.block <= i && r.next.block > at.block {
		at = r.next
	}
	c, err := r.fs.at(at.list, at.off)
	if err != nil {
		return 0, 0, fmt.Errorf("block list: %w", err)
	}
	var chunk [512]byte
	for at.block <= i {
		n := min(i-at.block+1, uint64(len(chunk)/4), r.every-at.block%r.every)
		if err := c.read(chunk[:4*n]); err != nil {
			return 0, 0, fmt.Errorf("block list: %w", err)
		}
		for j := range n {
			length = binary.LittleEndian.Uint32(chunk[4*j:])
			pos = at.pos
			at.pos += uint64(length &^ dataPlain)
		}
		at.block, at.list, at.off = at.block+n, c.block.pos, c.off
		r.mark(at)
	}
	r.next = at
	return pos, length, nil
}

// mark keeps a place that the marks don't reach to yet.
func (r *file) mark(at mark) {
	if at.block != uint64(len(r.marks))*r.every {
		return
	}
	if len(r.marks) == maxMarks {
		for i := range maxMarks / 2 {
			r.marks[i] = r.marks[2*i]
		}
		r.marks = r.marks[:maxMarks/2]
		if r.every *= 2; at.block != uint64(len(r.marks))*r.every {
			return
		}
	}
	r.marks = append(r.marks, at)
}

// readTail reads from the fragment.
func (r *file) readTail(b []byte, within uint64) (int, error) {
	data, err := r.fs.fragment(r.in.fragment)
	if err != nil {
		return 0, fmt.Errorf("fragment %d: %w", r.in.fragment, err)
	}
	from := uint64(r.in.tail) + within
	if from+uint64(len(b)) > uint64(len(data)) {
		return 0, fmt.Errorf("fragment %d: %d bytes at %#x of %d: %w", r.in.fragment, len(b), from, len(data), evidence.ErrCorrupt)
	}
	return copy(b, data[from:]), nil
}

// fragment returns a block that holds the tails of several files.
func (f *FS) fragment(i uint32) ([]byte, error) {
	if i >= f.sb.fragments || f.sb.fragmentTable == invalidBlock {
		return nil, fmt.Errorf("of %d: %w", f.sb.fragments, evidence.ErrCorrupt)
	}
	f.mu.Lock()
	b := f.fragments.get(uint64(i))
	f.mu.Unlock()
	if b != nil {
		return b.data, b.err
	}
	var e [fragmentSize]byte
	if err := f.entry(e[:], f.sb.fragmentTable, uint64(i)); err != nil {
		return nil, err
	}
	data, err := f.dataBlock(binary.LittleEndian.Uint64(e[:]), binary.LittleEndian.Uint32(e[8:]))
	if err == nil || errors.Is(err, evidence.ErrCorrupt) {
		f.mu.Lock()
		f.fragments.put(uint64(i), &block{data: data, err: err})
		f.mu.Unlock()
	}
	return data, err
}
