package sqlitefile

import "encoding/binary"

// Of www.sqlite.org/fileformat2.html; the numbers are its sections.
const (
	// PageSize is that of every page (1.3.2).
	PageSize = 4096

	magic       = "SQLite format 3\x00" // 1.3.1
	headerSize  = 100
	writerValid = 3_045_000 // the library's version whose rules are kept (1.3.16)

	// 1.6: the kinds of pages of trees, and the lengths of their headers.
	interiorIndex = 2
	interiorTable = 5
	leafIndex     = 10
	leafTable     = 13
	leafHeader    = 8
	innerHeader   = 12

	// 1.5: the page with this byte is the library's for its locks.
	lockByte = 1 << 30
	lockPage = lockByte/PageSize + 1

	// 1.6: what of a row stays on a leaf. maxLocal is U-35, minLocal (U-12)*32/255-23.
	maxLocal     = PageSize - 35
	minLocal     = (PageSize-12)*32/255 - 23
	overflowRoom = PageSize - 4
)

// appendVarint appends an integer of 1 to 9 bytes, the most significant first (1.6).
func appendVarint(dst []byte, v uint64) []byte {
	if v <= 0x7f {
		return append(dst, byte(v))
	}
	if v > 1<<56-1 {
		for i := range 8 {
			dst = append(dst, byte(v>>(57-7*i))|0x80)
		}
		return append(dst, byte(v))
	}
	n := 1
	for x := v >> 7; x > 0; x >>= 7 {
		n++
	}
	for i := n - 1; i > 0; i-- {
		dst = append(dst, byte(v>>(7*i))|0x80)
	}
	return append(dst, byte(v)&0x7f)
}

// varint reads what appendVarint wrote of a number below 2^56.
func varint(b []byte) (v uint64, n int) {
	for n < len(b) && n < 8 {
		c := b[n]
		n++
		v = v<<7 | uint64(c&0x7f)
		if c < 0x80 {
			return v, n
		}
	}
	return v, n
}

// page is one page of a tree as it is filled: the cells' places from the front,
// the cells from the end.
type page struct {
	buf  [PageSize]byte
	kind byte
	n    int // cells
	top  int // where the last cell begins
}

func (p *page) reset(kind byte) {
	*p = page{kind: kind, top: PageSize}
}

func (p *page) header() int {
	if p.kind == leafTable || p.kind == leafIndex {
		return leafHeader
	}
	return innerHeader
}

// add appends a cell, or says that there is no room.
func (p *page) add(cell []byte) bool {
	at := p.header() + 2*p.n
	if p.top-len(cell) < at+2 {
		return false
	}
	p.top -= len(cell)
	copy(p.buf[p.top:], cell)
	binary.BigEndian.PutUint16(p.buf[at:], uint16(p.top))
	p.n++
	return true
}

// pop takes the last cell away and returns it. It is valid until the next add.
func (p *page) pop() []byte {
	end := PageSize
	if p.n > 1 {
		end = int(binary.BigEndian.Uint16(p.buf[p.header()+2*(p.n-2):]))
	}
	cell := p.buf[p.top:end]
	p.n--
	binary.BigEndian.PutUint16(p.buf[p.header()+2*p.n:], 0)
	p.top = end
	return cell
}

// seal writes the page's header; right is the last child of an inner page.
func (p *page) seal(right uint32) []byte {
	clear(p.buf[p.header()+2*p.n : p.top])
	p.buf[0] = p.kind
	binary.BigEndian.PutUint16(p.buf[3:], uint16(p.n))
	binary.BigEndian.PutUint16(p.buf[5:], uint16(p.top))
	if p.header() == innerHeader {
		binary.BigEndian.PutUint32(p.buf[8:], right)
	}
	return p.buf[:]
}
