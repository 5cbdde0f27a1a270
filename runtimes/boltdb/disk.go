package boltdb

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"

	"lagan/evidence"
)

// The layout of a page, from go.etcd.io/bbolt internal/common/page.go. Integers
// are in the byte order of the machine that wrote the file: little-endian
// everywhere but on s390x.
const (
	pageHeaderSize    = 16 // id u64, flags u16, count u16, overflow u32
	leafElementSize   = 16 // flags u32, pos u32, ksize u32, vsize u32
	branchElementSize = 16 // pos u32, ksize u32, pgid u64
	bucketHeaderSize  = 16 // root u64, sequence u64: internal/common/bucket.go

	branchPageFlag   = 0x01
	leafPageFlag     = 0x02
	metaPageFlag     = 0x04
	freelistPageFlag = 0x10

	bucketLeafFlag = 0x01 // of a leaf element: the value is a bucket
)

// The meta page, from internal/common/meta.go and types.go.
const (
	metaMagic   = 0xED0CDAED
	metaVersion = 2
	metaSize    = 64 // magic u32, version u32, pageSize u32, flags u32, root u64, sequence u64, freelist u64, pgid u64, txid u64, checksum u64
	metaSummed  = 56 // bytes that the checksum covers

	// noFreelist is the freelist's page id in files written with NoFreelistSync, as containerd writes meta.db.
	noFreelist = ^uint64(0)
	// manyFree in a freelist page's count says that the first id is the count.
	manyFree = 0xFFFF
)

// Page sizes are the operating system's: 4 KiB, and 16 or 64 KiB on some arm64
// and ppc64 nodes. bbolt's Options.PageSize allows smaller ones.
const (
	minPageSize = 1 << 10
	maxPageSize = 64 << 10
)

// maxKeySize is bbolt's own limit (MaxKeySize, bucket.go).
const maxKeySize = 32768

// MaxValue bounds the values that Value returns. The largest in a container
// runtime's database, a container's specification, is some ten KiB; etcd, the
// largest writer, refuses requests over 1.5 MiB by default.
const MaxValue = 64 << 20

// Meta is one of the two meta pages: the state after one transaction.
type Meta struct {
	TxID     uint64
	PageSize int
	Root     uint64 // page id of the root bucket
	Sequence uint64 // of the root bucket
	Freelist uint64 // page id; all ones: not stored
	High     uint64 // high-water mark: the first page id that was never used
	// Sum says whether the checksum is right.
	Sum bool

	order binary.ByteOrder
	page  int // 0 or 1
}

// decodeMeta reads the 64 bytes that follow a meta page's header. It returns
// ErrFormat where the magic isn't there, ErrCorrupt where what follows can't be used.
func decodeMeta(b []byte) (Meta, error) {
	if len(b) < metaSize {
		return Meta{}, fmt.Errorf("meta page is cut short: %w", evidence.ErrFormat)
	}
	var order binary.ByteOrder
	switch {
	case binary.LittleEndian.Uint32(b) == metaMagic:
		order = binary.LittleEndian
	case binary.BigEndian.Uint32(b) == metaMagic:
		order = binary.BigEndian
	default:
		return Meta{}, fmt.Errorf("no bolt magic: %w", evidence.ErrFormat)
	}
	if v := order.Uint32(b[4:]); v != metaVersion {
		return Meta{}, fmt.Errorf("bolt file version %d: %w", v, evidence.ErrUnsupported)
	}
	m := Meta{
		PageSize: int(order.Uint32(b[8:])),
		Root:     order.Uint64(b[16:]),
		Sequence: order.Uint64(b[24:]),
		Freelist: order.Uint64(b[32:]),
		High:     order.Uint64(b[40:]),
		TxID:     order.Uint64(b[48:]),
		order:    order,
	}
	h := fnv.New64a()
	h.Write(b[:metaSummed])
	m.Sum = h.Sum64() == order.Uint64(b[metaSummed:])
	if m.PageSize < minPageSize || m.PageSize > maxPageSize || m.PageSize&(m.PageSize-1) != 0 {
		return Meta{}, fmt.Errorf("page size %d: %w", m.PageSize, evidence.ErrCorrupt)
	}
	if m.Root < 2 || m.Root >= m.High {
		return Meta{}, fmt.Errorf("root page %d of %d: %w", m.Root, m.High, evidence.ErrCorrupt)
	}
	return m, nil
}

// header is a page's own account of itself.
type header struct {
	id       uint64
	flags    uint16
	count    uint16
	overflow uint32
}

func decodeHeader(b []byte, order binary.ByteOrder) header {
	return header{order.Uint64(b), order.Uint16(b[8:]), order.Uint16(b[10:]), order.Uint32(b[12:])}
}
