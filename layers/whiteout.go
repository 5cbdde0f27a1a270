package layers

// How a layer's tar marks what it deletes: image-spec layer.md, "Whiteouts".
const (
	whiteoutPrefix = ".wh."
	// whiteoutMeta begins the names that AUFS kept for itself: those in the root
	// are not unpacked (moby pkg/archive/diff.go, containerd pkg/archive/tar.go).
	whiteoutMeta   = ".wh..wh."
	whiteoutOpaque = ".wh..wh..opq"
)

// How overlayfs marks the same in a layer's folder: fs/overlayfs/overlayfs.h.
// Runtimes translate when they unpack.
const (
	overlayTrusted = "trusted.overlay."
	overlayUser    = "user.overlay."
	overlayOpaque  = "opaque"
	opaqueYes      = "y"
)
