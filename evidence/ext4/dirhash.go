package ext4

import (
	"crypto/sha256"
	"encoding/base64"
	"math/bits"
)

// dirHash is ext4fs_dirhash in hash.c: the hash by which a directory's tree is
// sorted. It is needed here for the names of encrypted directories, which the
// kernel prefixes with it.
func dirHash(version uint8, seed [4]uint32, name []byte) (hash, minor uint32) {
	buf := seed
	if seed == [4]uint32{} {
		buf = [4]uint32{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}
	}
	signed := version <= dxHashTEA
	switch version {
	case dxHashLegacy, dxHashLegacyUnsigned:
		hash = legacyHash(name, signed)
	case dxHashHalfMD4, dxHashHalfMD4Unsigned:
		for ; len(name) > 0; name = name[min(32, len(name)):] {
			var in [8]uint32
			fillHash(in[:], name, signed)
			halfMD4(&buf, &in)
		}
		hash, minor = buf[1], buf[2]
	case dxHashTEA, dxHashTEAUnsigned:
		for ; len(name) > 0; name = name[min(16, len(name)):] {
			var in [4]uint32
			fillHash(in[:], name, signed)
			tea(&buf, &in)
		}
		hash, minor = buf[0], buf[1]
	default:
		return 0, 0
	}
	const eof = 1<<31 - 1 // EXT4_HTREE_EOF_32BIT
	if hash &^= 1; hash == eof<<1 {
		hash = (eof - 1) << 1
	}
	return hash, minor
}

// charOf widens a byte as a C char does, which is signed on some machines: a
// filesystem keeps to the kind of the machine that made it.
func charOf(c byte, signed bool) uint32 {
	if signed {
		return uint32(int32(int8(c)))
	}
	return uint32(c)
}

// legacyHash is dx_hack_hash.
func legacyHash(name []byte, signed bool) uint32 {
	h0, h1 := uint32(0x12a3fe2d), uint32(0x37abe8f9)
	for _, c := range name {
		h := h1 + (h0 ^ charOf(c, signed)*7152373)
		if h&0x80000000 != 0 {
			h -= 0x7fffffff
		}
		h0, h1 = h, h0
	}
	return h0 << 1
}

// fillHash packs the beginning of a name into words, padded with its length
// (str2hashbuf).
func fillHash(to []uint32, name []byte, signed bool) {
	pad := uint32(len(name)) | uint32(len(name))<<8
	pad |= pad << 16
	for i := range to {
		to[i] = pad
		part := name[min(4*i, len(name)):min(4*i+4, len(name))]
		for _, c := range part {
			to[i] = charOf(c, signed) + to[i]<<8
		}
	}
}

// tea is TEA_transform: 16 rounds of the Tiny Encryption Algorithm.
func tea(buf, in *[4]uint32) {
	b0, b1, sum := buf[0], buf[1], uint32(0)
	for range 16 {
		sum += 0x9e3779b9
		b0 += (b1<<4 + in[0]) ^ (b1 + sum) ^ (b1>>5 + in[1])
		b1 += (b0<<4 + in[2]) ^ (b0 + sum) ^ (b0>>5 + in[3])
	}
	buf[0] += b0
	buf[1] += b1
}

// halfMD4 is half_md4_transform: three rounds of MD4 over half a block.
func halfMD4(buf *[4]uint32, in *[8]uint32) {
	rounds := [3]struct {
		add   uint32
		order [8]int
		shift [4]int
		mix   func(x, y, z uint32) uint32
	}{
		{0, [8]int{0, 1, 2, 3, 4, 5, 6, 7}, [4]int{3, 7, 11, 19}, func(x, y, z uint32) uint32 { return z ^ x&(y^z) }},
		{0x5a827999, [8]int{1, 3, 5, 7, 0, 2, 4, 6}, [4]int{3, 5, 9, 13}, func(x, y, z uint32) uint32 { return x&y + (x^y)&z }},
		{0x6ed9eba1, [8]int{3, 7, 2, 6, 1, 5, 0, 4}, [4]int{3, 9, 11, 15}, func(x, y, z uint32) uint32 { return x ^ y ^ z }},
	}
	a, b, c, d := buf[0], buf[1], buf[2], buf[3]
	for _, r := range rounds {
		for i, word := range r.order {
			a = bits.RotateLeft32(a+r.mix(b, c, d)+in[word]+r.add, r.shift[i&3])
			a, b, c, d = d, a, b, c
		}
	}
	buf[0] += a
	buf[1] += b
	buf[2] += c
	buf[3] += d
}

// Encrypted names (fs/crypto/fname.c).
const (
	minCiphertext  = 16  // FSCRYPT_FNAME_MIN_MSG_LEN
	maxNokeyDirect = 149 // struct fscrypt_nokey_name: longer names end in a SHA-256 of the rest
)

// nokeySize returns how long the name is that nokeyName makes of n bytes.
func nokeySize(n int64) int64 {
	if n < minCiphertext {
		return 0
	}
	size := 8 + min(maxNokeyDirect, n)
	if n > maxNokeyDirect {
		size += sha256.Size
	}
	return int64(base64.RawURLEncoding.EncodedLen(int(size)))
}

// nokeyName returns what readdir(2) and readlink(2) show of an encrypted name
// without its key (fscrypt_fname_disk_to_usr).
func nokeyName(hash, minor uint32, name []byte) (string, bool) {
	if len(name) < minCiphertext {
		return "", false
	}
	b := le.AppendUint32(make([]byte, 0, 8+maxNokeyDirect+sha256.Size), hash)
	if hash == 0 {
		minor = 0
	}
	b = le.AppendUint32(b, minor)
	b = append(b, name[:min(maxNokeyDirect, len(name))]...)
	if len(name) > maxNokeyDirect {
		sum := sha256.Sum256(name[maxNokeyDirect:])
		b = append(b, sum[:]...)
	}
	return base64.RawURLEncoding.EncodeToString(b), true
}
