package xfs

import (
	"cmp"
	"slices"
)

const (
	// maxPassed bounds the bytes of folders' blocks that are kept.
	maxPassed = 96 << 20
	// passedChunk is how many bytes are allocated, and given up, at a time.
	passedChunk = 1 << 20
)

// passedBlocks are the blocks that look like a folder's and that a pass over the
// inodes read because they lie between those: XFS puts a folder's block and the
// inodes of what is in it side by side. The pass over the folders reads the same
// bytes again otherwise.
type passedBlocks struct {
	chunks [][]byte
	at     []passedBlock // as they were met
	sorted bool
	size   int64
}

type passedBlock struct {
	off   int64
	chunk int32
	from  int32
}

// keep keeps the blocks of folders in a stretch of the device.
func (p *passedBlocks) keep(f *FS, off int64, b []byte) {
	size, step := int(f.sb.blockSize)<<f.sb.dirBlkLog, int64(f.sb.blockSize)
	skip := int(-off & (step - 1))
	for at := skip; at+size <= len(b); at += int(step) {
		switch be.Uint32(b[at:]) {
		case magicDir3Block, magicDir3Data, magicDirBlock, magicDirData:
			p.add(off+int64(at), b[at:at+size])
		}
	}
}

func (p *passedBlocks) add(off int64, b []byte) {
	if p.size+int64(len(b)) > maxPassed {
		return
	}
	last := len(p.chunks) - 1
	if last < 0 || len(p.chunks[last])+len(b) > passedChunk {
		p.chunks = append(p.chunks, make([]byte, 0, max(passedChunk, len(b))))
		last++
	}
	p.at = append(p.at, passedBlock{off, int32(last), int32(len(p.chunks[last]))})
	p.chunks[last] = append(p.chunks[last], b...)
	p.size += int64(len(b))
	p.sorted = false
}

// find returns the bytes of a block, nil where they were not kept.
func (p *passedBlocks) find(off int64, n int) []byte {
	if !p.sorted {
		slices.SortStableFunc(p.at, func(a, b passedBlock) int { return cmp.Compare(a.off, b.off) })
		p.sorted = true
	}
	i, ok := slices.BinarySearchFunc(p.at, off, func(b passedBlock, off int64) int { return cmp.Compare(b.off, off) })
	if !ok {
		return nil
	}
	return p.chunks[p.at[i].chunk][p.at[i].from:][:n:n]
}
