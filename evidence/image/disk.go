package image

import "bytes"

// Magic numbers of the compressed streams that an image may be wrapped in.
var (
	magicGzip   = []byte{0x1f, 0x8b, 0x08}                   // RFC 1952, 2.3.1: ID1, ID2, CM = deflate
	magicZstd   = []byte{0x28, 0xb5, 0x2f, 0xfd}             // RFC 8878, 3.1.1: Magic_Number
	magicXZ     = []byte{0xfd, '7', 'z', 'X', 'Z', 0x00}     // xz-file-format 1.2.0, 2.1.1.1
	magicBzip2  = []byte{'B', 'Z', 'h'}                      // then the block size '1' to '9'
	magicLZ4    = []byte{0x04, 0x22, 0x4d, 0x18}             // LZ4 frame format, 0x184D2204
	magicLZ4Old = []byte{0x02, 0x21, 0x4c, 0x18}             // the legacy frame of LZ4, 0x184C2102
	blockBzip2  = []byte{0x31, 0x41, 0x59, 0x26, 0x53, 0x59} // pi: the first block of a bzip2 stream
	endBzip2    = []byte{0x17, 0x72, 0x45, 0x38, 0x50, 0x90} // sqrt(pi): the end of an empty one
)

// A skippable frame, of zstd and LZ4 alike, begins with 0x184D2A50 to 0x184D2A5F (RFC 8878, 3.1.2).
const (
	skippableMagic = 0x184d2a50
	skippableMask  = 0xfffffff0
)

// headSize is what is read of a file to recognise it: it reaches past the GPT
// header of a disk with sectors of 4096 bytes.
const headSize = 8192

// isSkippable reports whether head begins with a skippable frame.
func isSkippable(head []byte) bool {
	return len(head) >= 8 && le32(head)&skippableMask == skippableMagic
}

// isBzip2 reports whether head begins a bzip2 stream: BZh, a level, and the magic of a block.
func isBzip2(head []byte) bool {
	return len(head) >= 10 && bytes.HasPrefix(head, magicBzip2) && head[3] >= '1' && head[3] <= '9' &&
		(bytes.Equal(head[4:10], blockBzip2) || bytes.Equal(head[4:10], endBzip2))
}

func le32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}
