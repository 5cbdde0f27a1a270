package layers

import (
	_ "crypto/sha256" // the algorithms that digests name
	_ "crypto/sha512"
	"fmt"
	"hash"
	"io"

	"github.com/opencontainers/go-digest"

	"lagan/evidence"
)

// Digest names content by its algorithm and hash: "sha256:" and 64 hexadecimal
// digits, or sha384 or sha512. Its zero value is no digest.
type Digest struct{ d digest.Digest }

// ParseDigest checks the form of a digest. One of an algorithm that isn't known
// is evidence.ErrUnsupported, anything else evidence.ErrCorrupt.
func ParseDigest(s string) (Digest, error) {
	d := digest.Digest(s)
	switch err := d.Validate(); err {
	case nil:
		return Digest{d}, nil
	case digest.ErrDigestUnsupported:
		return Digest{}, fmt.Errorf("digest %q: %w", s, evidence.ErrUnsupported)
	default:
		return Digest{}, fmt.Errorf("digest %q: %w: %w", s, err, evidence.ErrCorrupt)
	}
}

// DigestOf returns the SHA-256 digest of b.
func DigestOf(b []byte) Digest { return Digest{digest.FromBytes(b)} }

// String returns the digest as it was parsed, "" for the zero value.
func (d Digest) String() string { return string(d.d) }

// IsZero says whether d is no digest.
func (d Digest) IsZero() bool { return d.d == "" }

// Hash returns a new hash of the digest's algorithm, SHA-256 for the zero value.
func (d Digest) Hash() hash.Hash {
	if d.IsZero() {
		return digest.SHA256.Hash()
	}
	return d.d.Algorithm().Hash()
}

// with returns the digest of the same algorithm that h holds.
func (d Digest) with(h hash.Hash) Digest {
	a := digest.SHA256
	if !d.IsZero() {
		a = d.d.Algorithm()
	}
	return Digest{digest.NewDigest(a, h)}
}

// Sum reads r to its end and returns its digest, of the algorithm of d, and its size.
func (d Digest) Sum(r io.Reader) (Digest, int64, error) {
	h := d.Hash()
	n, err := io.Copy(h, r)
	return d.with(h), n, err
}
