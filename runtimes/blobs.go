package runtimes

import "iter"

// BlobStore is a Store that keeps content by its digest.
type BlobStore interface {
	// Blobs yields every blob, whether an image leads to it or not.
	Blobs() iter.Seq2[Blob, error]
}
