// Package layers knows what an image is made of and what a container changed.
//
// Diff compares two views. ReadBlob takes a layer's blob through its digests
// while it is unpacked, ReadTar and OpenTar make a tree of its tar, whiteouts as
// overlayfs keeps them, and CompareTar and CompareSplit compare a layer's folder
// with its tar or, where the blob was discarded, with the tar-split that Docker
// and Podman keep, entry by entry.
//
// It follows the OCI image specification (layer.md, config.md, manifest.md), POSIX
// pax and GNU tar as archive/tar reads them, and tar-split's tar/storage/entry.go.
//
// Input is hostile: no panic, no allocation sized by it, no endless stream.
package layers
