package analyzer

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"lagan/evidence"
)

// owners gives the owner on the disk of an owner inside a container.
type owners struct{ uids, gids []idRange }

// idRange maps length ids from first to the disk's from host on.
type idRange struct{ first, host, length uint32 }

func (o *owners) uid(id uint32) (uint32, bool) { return lookUp(o.uids, id) }
func (o *owners) gid(id uint32) (uint32, bool) { return lookUp(o.gids, id) }

func lookUp(ranges []idRange, id uint32) (uint32, bool) {
	for _, r := range ranges {
		if id >= r.first && id-r.first < r.length {
			return r.host + id - r.first, true
		}
	}
	return 0, false
}

// lookBack gives the id inside of an id on the disk. One that has no place inside
// stays as it is, where the kernel would show all such as one (overflowuid).
func lookBack(ranges []idRange, id uint32) uint32 {
	for _, r := range ranges {
		if id >= r.host && id-r.host < r.length {
			return r.first + id - r.host
		}
	}
	return id
}

// remappedRoot is the data root that dockerd uses with userns-remap: daemon/daemon_unix.go.
var remappedRoot = regexp.MustCompile(`/([0-9]{1,9})\.([0-9]{1,9})$`)

// ownersOf says how a store shifts owners: by userns-remap, whose data root is
// called by the first ids, or as a user's own, whose root is the user and whose
// other ids are those of /etc/subuid and /etc/subgid. nil: not at all.
func ownersOf(s Store, folder evidence.Ino, rootless bool) *owners {
	if m := remappedRoot.FindStringSubmatch(s.Path()); m != nil && !rootless {
		uid, _ := strconv.ParseUint(m[1], 10, 32)
		gid, _ := strconv.ParseUint(m[2], 10, 32)
		const all = 65536 // newuidmap's usual length; ids beyond it are rarely given out
		return &owners{uids: []idRange{{0, uint32(uid), all}}, gids: []idRange{{0, uint32(gid), all}}}
	}
	if !rootless {
		return nil
	}
	info, err := s.Tree.Stat(folder)
	if err != nil {
		return &owners{}
	}
	name := userName(s, info.UID)
	return &owners{
		uids: append([]idRange{{0, info.UID, 1}}, subordinate(s, "/etc/subuid", name, info.UID)...),
		gids: append([]idRange{{0, info.GID, 1}}, subordinate(s, "/etc/subgid", name, info.UID)...),
	}
}

// maxAccounts is what is read of the files of accounts.
const maxAccounts = 4 << 20

func userName(s Store, uid uint32) string {
	b, _ := evidence.ReadFile(s.Tree, s.Tree.Root(), "/etc/passwd", maxAccounts)
	for line := range strings.Lines(string(b)) {
		f := strings.Split(line, ":")
		if len(f) > 3 && f[2] == fmt.Sprint(uid) {
			return f[0]
		}
	}
	return ""
}

// subordinate reads the ranges of a user: subuid(5). Inside they follow one another from 1 on.
func subordinate(s Store, path, name string, uid uint32) []idRange {
	b, _ := evidence.ReadFile(s.Tree, s.Tree.Root(), path, maxAccounts)
	var out []idRange
	next := uint64(1)
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) != 3 || f[0] != fmt.Sprint(uid) && (name == "" || f[0] != name) {
			continue
		}
		host, err := strconv.ParseUint(f[1], 10, 32)
		length, err2 := strconv.ParseUint(f[2], 10, 32)
		if err != nil || err2 != nil || next+length > 1<<32 || host+length > 1<<32 {
			continue
		}
		out = append(out, idRange{uint32(next), uint32(host), uint32(length)})
		next += length
	}
	return out
}

// overflowID is what a user namespace shows of an owner that it has no id for: overflowuid in kernel/sysctl.
const overflowID = 65534

// ownersSeen says how owners looked in a container with a user namespace of its
// own, nil for one without.
func (n *Node) ownersSeen(t *Tree) func(uid, gid uint32) (uint32, uint32) {
	if t.Container == nil {
		return nil
	}
	shift := n.shiftOf(t.Container.store, t.Container.Rootfs)
	if shift == nil {
		return nil
	}
	if len(t.Container.Rootfs.UIDs) > 0 {
		// The layers below may lie unshifted, and be shifted where they are mounted.
		return func(uid, gid uint32) (uint32, uint32) { return lookBack(shift.uids, uid), lookBack(shift.gids, gid) }
	}
	return func(uid, gid uint32) (uint32, uint32) { return seen(shift.uids, uid), seen(shift.gids, gid) }
}

func seen(ranges []idRange, id uint32) uint32 {
	for _, r := range ranges {
		if id >= r.host && id-r.host < r.length {
			return r.first + id - r.host
		}
	}
	return overflowID
}
