package layers

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"lagan/evidence"
)

// attributes compares mode, owner and extended attributes.
func (c *comparer) attributes(d *differing, ino, peer evidence.Ino) {
	n := &c.tar.nodes[ino]
	if !n.implied {
		if n.info.Perm != d.info.Perm && n.info.Type != evidence.TypeSymlink {
			d.field(ChangedMode, fmt.Sprintf("%04o", n.info.Perm), fmt.Sprintf("%04o", d.info.Perm))
		}
		uid, ok := mapped(c.o.MapUID, n.info.UID)
		gid, ok2 := mapped(c.o.MapGID, n.info.GID)
		if ok && ok2 && (uid != d.info.UID || gid != d.info.GID) {
			d.field(ChangedOwner, fmt.Sprintf("%d:%d", uid, gid), fmt.Sprintf("%d:%d", d.info.UID, d.info.GID))
		}
	}
	has, err := c.folder.Xattrs(peer)
	if err != nil {
		c.fail(d.path, fmt.Errorf("reading attributes: %w", err))
		return
	}
	opaque := string(has[c.tar.opaqueName()]) == opaqueYes
	if n.info.Type == evidence.TypeDir {
		if _, file := c.list(d.path, peer)[whiteoutOpaque]; file && c.wantsOpaque(ino) {
			opaque = true
		}
		if opaque != c.wantsOpaque(ino) && (c.o.UserXattr || !c.o.NoTrusted) {
			d.field(ChangedOpaque, fmt.Sprint(c.wantsOpaque(ino)), fmt.Sprint(opaque))
		}
	}
	c.xattrs(d, n, has)
}

func mapped(m func(uint32) (uint32, bool), id uint32) (uint32, bool) {
	if m == nil {
		return id, true
	}
	return m(id)
}

func (c *comparer) xattrs(d *differing, n *tarNode, has map[string][]byte) {
	names := make(map[string]bool)
	for k := range has {
		names[k] = true
	}
	for k := range n.xattrs {
		names[k] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		want, wanted := n.xattrs[name]
		got, there := has[name]
		if ignoredXattr(name) || c.o.NoTrusted && strings.HasPrefix(name, "trusted.") || n.implied && !overlayMark(name) || wanted && there && c.sameXattr(name, want, got) {
			continue
		}
		d.field("xattr "+name, encoded([]byte(want), wanted), encoded(got, there))
	}
}

func encoded(b []byte, there bool) string {
	if !there {
		return ""
	}
	return "base64:" + base64.StdEncoding.EncodeToString(b)
}

// sameXattr compares two values. A capability that was set by a user's runtime
// has the namespace's root beside it: include/uapi/linux/capability.h, struct vfs_ns_cap_data.
func (c *comparer) sameXattr(name, want string, got []byte) bool {
	if string(got) == want {
		return true
	}
	const v2, v3 = 20, 24
	return name == "security.capability" && (c.o.UserXattr || c.o.MapUID != nil) && len(want) == v2 && len(got) == v3 &&
		want[:3] == string(got[:3]) && want[4:] == string(got[4:v2])
}

// ignoredXattr says whether an attribute is the node's own: a label by its
// policy, or what overlayfs notes without changing what a merge shows.
func ignoredXattr(name string) bool {
	switch name {
	case "security.selinux", "security.SMACK64", "security.ima", "security.evm":
		return true
	}
	return (strings.HasPrefix(name, overlayTrusted) || strings.HasPrefix(name, overlayUser)) && !overlayMark(name)
}

// overlayMark says whether an attribute changes what overlayfs shows: redirects,
// metadata-only copies and whiteouts, none of which unpacking a tar makes.
func overlayMark(name string) bool {
	for _, prefix := range []string{overlayTrusted, overlayUser} {
		switch strings.TrimPrefix(name, prefix) {
		case "redirect", "metacopy", "whiteout":
			return true
		}
	}
	return false
}

func (c *comparer) xattrWhiteout(ino evidence.Ino) bool {
	has, err := c.folder.Xattrs(ino)
	if err != nil {
		return false
	}
	_, trusted := has[overlayTrusted+"whiteout"]
	_, user := has[overlayUser+"whiteout"]
	return trusted || user
}

// How precisely a time of modification agrees.
const (
	timeExact   = iota
	timeSeconds // the tar has whole seconds, the folder more
	timeCoarse  // the folder has whole seconds, the tar more
	timeDiffers
)

// time notes a time of modification that isn't the tar's to the nanosecond.
func (c *comparer) time(d *differing, n *tarNode) {
	want, got := n.info.Mtime, d.info.Mtime
	how := timeDiffers
	if want.IsZero() || !want.Equal(got) && c.ofPull(n, got) {
		return // a table may have no time, a tar always has one
	}
	switch {
	case want.Equal(got), want.Unix() < 0 && got.Unix() == 0 && got.Nanosecond() == 0:
		// the runtimes take the epoch for what is before it: boundTime of containerd, BoundTime of moby
		if want.Nanosecond() == 0 {
			c.exact[timeSeconds]++
		} else {
			c.exact[timeCoarse]++
		}
		return
	case want.Unix() == got.Unix() && want.Nanosecond() == 0:
		how = timeSeconds
	case want.Unix() == got.Unix() && got.Nanosecond() == 0:
		how = timeCoarse
	}
	c.times = append(c.times, timeDifference{how, Difference{Kind: Modified, Path: d.path, Field: ChangedMtime,
		Want: formatTime(want), Got: formatTime(got), Info: d.info}})
}

// pullTakes bounds how long a layer is pulled.
const pullTakes = 24 * time.Hour

// ofPull says whether a time that isn't the table's may be that of the pull.
func (c *comparer) ofPull(n *tarNode, got time.Time) bool {
	switch {
	case c.o.Pulled.IsZero(), got.After(c.o.Pulled), c.o.Pulled.Sub(got) > pullTakes:
		return false
	}
	return c.o.Lost || n.info.Type == evidence.TypeDir || n.info.Type == evidence.TypeSymlink
}

// timeDifference is one that is not yet judged.
type timeDifference struct {
	how int
	Difference
}

// judgeTimes decides what a difference below a second means. A layer that was
// built on this node was never unpacked: its folder has nanoseconds and the tar
// that was made of it whole seconds, throughout. A filesystem may keep whole
// seconds only, throughout too. One file among others that agree was changed.
func (c *comparer) judgeTimes() {
	var n [timeDiffers + 1]int
	for i := range c.times {
		n[c.times[i].how]++
	}
	for _, d := range c.times {
		if d.how == timeDiffers || n[d.how] <= c.exact[d.how] {
			c.out = append(c.out, d.Difference)
		}
	}
}

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
