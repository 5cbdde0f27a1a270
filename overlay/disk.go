package overlay

// What overlayfs keeps on its layers: Documentation/filesystems/overlayfs.rst,
// fs/overlayfs/overlayfs.h (enum ovl_xattr, struct ovl_metacopy) and util.c
// (ovl_xattr_table).
const (
	// trustedPrefix is OVL_XATTR_TRUSTED_PREFIX; userPrefix, of mounts with
	// userxattr, OVL_XATTR_USER_PREFIX.
	trustedPrefix = "trusted.overlay."
	userPrefix    = "user.overlay."
	// escapePrefix after one of them marks an attribute that an overlay inside
	// this one wrote: OVL_XATTR_ESCAPE_PREFIX.
	escapePrefix = "overlay."

	xattrOpaque   = "opaque"   // directory: 'y' hides what is below, 'x' may hold xattr whiteouts
	xattrRedirect = "redirect" // directory or metacopy file: where it was in the layers below
	xattrMetacopy = "metacopy" // regular file: its content is in a layer below
	xattrWhiteout = "whiteout" // empty regular file: the name is deleted

	opaqueYes = 'y'

	// metacopyMinSize is OVL_METACOPY_MIN_SIZE, the size of struct ovl_metacopy
	// without a digest. An empty value stands for one.
	metacopyMinSize = 4
)

const (
	// maxLayers is OVL_MAX_STACK (fs/overlayfs/params.h): what the kernel mounts.
	maxLayers = 500
	// maxRedirect bounds a redirect's length and what it grows to when elements
	// of it are redirected again. The kernel writes at most 256 bytes
	// (redirect_max), and no path may be longer than PATH_MAX.
	maxRedirect = 4096
	// maxRedirects bounds the redirects followed for one name.
	maxRedirects = 256
)
