package ext4

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// TestInodeSum compares the sum of an inode of the usual size, which is made in
// one go, with that of ext4_inode_csum, part by part.
func TestInodeSum(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	sb := &super{}
	for range 1000 {
		raw := make([]byte, usualInodeSize)
		for i := range raw {
			raw[i] = byte(rng.Uint32())
		}
		seed, extra := rng.Uint32(), []uint16{0, 3, 4, 32, 65535}[rng.IntN(5)]
		binary.LittleEndian.PutUint16(raw[0x80:], extra)
		clean := append([]byte(nil), raw...)
		clean[0x7c], clean[0x7d] = 0, 0
		if extra >= 4 {
			clean[0x82], clean[0x83] = 0, 0
		}
		sum := crc32c(seed, clean)
		binary.LittleEndian.PutUint16(raw[0x7c:], uint16(sum))
		if extra >= 4 {
			binary.LittleEndian.PutUint16(raw[0x82:], uint16(sum>>16))
		}
		if !sb.inodeSum(seed, raw) {
			t.Fatalf("extra size %d: a good sum is called bad", extra)
		}
		raw[[]int{0, 0x7b, 0x7c, 0x7d, 0x7e, 0x84, 255}[rng.IntN(7)]] ^= 1 << rng.IntN(8)
		if sb.inodeSum(seed, raw) {
			t.Fatalf("extra size %d: a bad sum is called good", extra)
		}
	}
}
