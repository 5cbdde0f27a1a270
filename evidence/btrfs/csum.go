package btrfs

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum returns the checksum of b, nil for a kind that is not known.
func checksum(kind uint16, b []byte) []byte {
	switch kind {
	case csumCRC32C:
		return binary.LittleEndian.AppendUint32(nil, crc32.Checksum(b, castagnoli))
	case csumXXHash:
		return binary.LittleEndian.AppendUint64(nil, xxhash64(b))
	case csumSHA256:
		sum := sha256.Sum256(b)
		return sum[:]
	case csumBlake2b:
		sum := blake2b256(b)
		return sum[:]
	}
	return nil
}

// csumLength is the length of a checksum of some kind.
func csumLength(kind uint16) int {
	return map[uint16]int{csumCRC32C: 4, csumXXHash: 8, csumSHA256: 32, csumBlake2b: 32}[kind]
}

// checks says whether a block whose first 32 bytes are its checksum is whole.
func checks(kind uint16, block []byte) bool {
	if kind == csumCRC32C {
		return binary.LittleEndian.Uint32(block) == crc32.Checksum(block[csumSize:], castagnoli)
	}
	sum := checksum(kind, block[csumSize:])
	return sum != nil && bytes.Equal(sum, block[:len(sum)])
}

// nameHash is the hash of a directory entry's or attribute's name: the
// kernel's crc32c, which inverts neither before nor after, from ~1
// (btrfs_name_hash, fs/btrfs/dir-item.h).
func nameHash(name string) uint64 { return uint64(rawCRC(^uint32(1), name)) }

func rawCRC(seed uint32, s string) uint32 { return ^crc32.Update(^seed, castagnoli, []byte(s)) }

// xxhash64 with seed 0 (github.com/Cyan4973/xxHash, doc/xxhash_spec.md).
func xxhash64(b []byte) uint64 {
	const (
		p1 = 0x9E3779B185EBCA87
		p2 = 0xC2B2AE3D27D4EB4F
		p3 = 0x165667B19E3779F9
		p4 = 0x85EBCA77C2B2AE63
		p5 = 0x27D4EB2F165667C5
	)
	round := func(acc, lane uint64) uint64 { return bits.RotateLeft64(acc+lane*p2, 31) * p1 }
	n := uint64(len(b))
	h := uint64(p5)
	if len(b) >= 32 {
		one, two := uint64(p1), uint64(p2) // variables: the sums overflow
		v := [4]uint64{one + two, two, 0, -one}
		for len(b) >= 32 {
			for i := range v {
				v[i] = round(v[i], binary.LittleEndian.Uint64(b[8*i:]))
			}
			b = b[32:]
		}
		h = bits.RotateLeft64(v[0], 1) + bits.RotateLeft64(v[1], 7) + bits.RotateLeft64(v[2], 12) + bits.RotateLeft64(v[3], 18)
		for _, acc := range v {
			h = (h^round(0, acc))*p1 + p4
		}
	}
	h += n
	for ; len(b) >= 8; b = b[8:] {
		h = bits.RotateLeft64(h^round(0, binary.LittleEndian.Uint64(b)), 27)*p1 + p4
	}
	if len(b) >= 4 {
		h = bits.RotateLeft64(h^uint64(binary.LittleEndian.Uint32(b))*p1, 23)*p2 + p3
		b = b[4:]
	}
	for _, c := range b {
		h = bits.RotateLeft64(h^uint64(c)*p5, 11) * p1
	}
	h = (h ^ h>>33) * p2
	h = (h ^ h>>29) * p3
	return h ^ h>>32
}

// blake2b256 is BLAKE2b without a key and with 32 bytes of output (RFC 7693).
func blake2b256(b []byte) (sum [32]byte) {
	h := blakeIV
	h[0] ^= 0x01010000 ^ 32
	var block [128]byte
	done := uint64(0)
	for len(b) > len(block) {
		copy(block[:], b)
		b = b[len(block):]
		done += uint64(len(block))
		blakeRound(&h, &block, done, false)
	}
	clear(block[:])
	done += uint64(copy(block[:], b))
	blakeRound(&h, &block, done, true)
	for i := range 4 {
		binary.LittleEndian.PutUint64(sum[8*i:], h[i])
	}
	return sum
}

var blakeIV = [8]uint64{
	0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
	0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
}

var blakeSigma = [10][16]byte{
	{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
	{14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
	{11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
	{7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
	{9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
	{2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
	{12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
	{13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
	{6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
	{10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
}

func blakeRound(h *[8]uint64, block *[128]byte, done uint64, last bool) {
	var m, v [16]uint64
	for i := range m {
		m[i] = binary.LittleEndian.Uint64(block[8*i:])
	}
	copy(v[:], h[:])
	copy(v[8:], blakeIV[:])
	v[12] ^= done
	if last {
		v[14] = ^v[14]
	}
	mix := func(a, b, c, d int, x, y uint64) {
		v[a] += v[b] + x
		v[d] = bits.RotateLeft64(v[d]^v[a], -32)
		v[c] += v[d]
		v[b] = bits.RotateLeft64(v[b]^v[c], -24)
		v[a] += v[b] + y
		v[d] = bits.RotateLeft64(v[d]^v[a], -16)
		v[c] += v[d]
		v[b] = bits.RotateLeft64(v[b]^v[c], -63)
	}
	for r := range 12 {
		s := &blakeSigma[r%10]
		mix(0, 4, 8, 12, m[s[0]], m[s[1]])
		mix(1, 5, 9, 13, m[s[2]], m[s[3]])
		mix(2, 6, 10, 14, m[s[4]], m[s[5]])
		mix(3, 7, 11, 15, m[s[6]], m[s[7]])
		mix(0, 5, 10, 15, m[s[8]], m[s[9]])
		mix(1, 6, 11, 12, m[s[10]], m[s[11]])
		mix(2, 7, 8, 13, m[s[12]], m[s[13]])
		mix(3, 4, 9, 14, m[s[14]], m[s[15]])
	}
	for i := range h {
		h[i] ^= v[i] ^ v[i+8]
	}
}
