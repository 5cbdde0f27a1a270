package analyzer

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"lagan/evidence"
)

// maxConfigFile bounds the configuration files that are read whole: real ones have a few kilobytes.
const maxConfigFile = 4 << 20

// mountEntry is one line of /etc/fstab or one systemd mount unit.
type mountEntry struct {
	source  string // UUID=..., LABEL=..., /dev/..., or a folder for a bind mount
	where   string
	fstype  string
	options []string
}

func (m mountEntry) has(option string) bool { return slices.Contains(m.options, option) }

// parseFstab reads the lines of an fstab(5). Octal escapes (\040) are undone.
func parseFstab(b []byte) []mountEntry {
	var out []mountEntry
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 || strings.HasPrefix(f[0], "#") {
			continue
		}
		m := mountEntry{source: unescapeOctal(f[0]), where: unescapeOctal(f[1])}
		if len(f) > 2 {
			m.fstype = f[2]
		}
		if len(f) > 3 {
			m.options = strings.Split(f[3], ",")
		}
		if strings.HasPrefix(m.where, "/") {
			out = append(out, m)
		}
	}
	return out
}

func unescapeOctal(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// parseMountUnit reads a systemd.mount(5) unit.
func parseMountUnit(b []byte) (mountEntry, bool) {
	var m mountEntry
	section := ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
			continue
		}
		k, v, ok := strings.Cut(line, "=")
		if !ok || section != "[Mount]" {
			continue
		}
		switch v = strings.TrimSpace(v); strings.TrimSpace(k) {
		case "What":
			m.source = v
			if dev, ok := strings.CutPrefix(v, "/dev/disk/by-"); ok {
				kind, value, _ := strings.Cut(dev, "/")
				m.source = strings.ToUpper(kind) + "=" + value
			}
		case "Where":
			m.where = v
		case "Type":
			m.fstype = v
		case "Options":
			m.options = strings.Split(v, ",")
		}
	}
	return m, m.source != "" && strings.HasPrefix(m.where, "/")
}

// mountTable returns what the root filesystem says is mounted where, shorter
// paths first, as they have to be mounted.
func (n *Node) mountTable(root *Volume) []mountEntry {
	var table []mountEntry
	b, err := evidence.ReadFile(root.FS, root.FS.Root(), "etc/fstab", maxConfigFile)
	switch {
	case err == nil:
		table = parseFstab(b)
	case !errors.Is(err, fs.ErrNotExist):
		n.gap(root.Index, "/etc/fstab", err)
	}
	for _, dir := range []string{"etc/systemd/system", "usr/lib/systemd/system", "run/systemd/generator"} {
		ino, err := evidence.Resolve(root.FS, root.FS.Root(), dir, true)
		if err != nil {
			continue // most nodes have no such folder
		}
		units, err := evidence.List(root.FS, ino)
		if err != nil {
			n.gap(root.Index, "/"+dir, err)
		}
		for _, u := range units {
			if !strings.HasSuffix(u.Name, ".mount") || u.Type == evidence.TypeSymlink {
				continue
			}
			b, err := evidence.ReadInode(root.FS, u.Ino, maxConfigFile)
			if err != nil {
				n.gap(root.Index, "/"+dir+"/"+u.Name, err)
				continue
			}
			if m, ok := parseMountUnit(b); ok {
				table = append(table, m)
			}
		}
	}
	slices.SortStableFunc(table, func(a, b mountEntry) int { return len(evidence.Split(a.where)) - len(evidence.Split(b.where)) })
	return table
}

// join builds the node's one tree out of its volumes: the one that holds the
// operating system, and those that its mount table names.
func (n *Node) join() {
	root := n.rootVolume()
	if root == nil {
		return
	}
	root.MountPoint = "/"
	tree := newJoined(root.FS)
	for _, m := range n.mountTable(root) {
		if m.where == "/" || m.fstype == "swap" {
			continue
		}
		if m.has("bind") || m.has("rbind") {
			n.bind(tree, m)
			continue
		}
		v := n.volumeNamed(m.source)
		if v == nil || v == root || v.FS == nil || v.MountPoint != "" {
			continue // pseudo filesystems, network shares, disks that are not here: info lists what is joined
		}
		at, err := evidence.Resolve(tree, tree.Root(), m.where, true)
		if err == nil {
			err = tree.mount(at, v.FS, v.FS.Root())
		}
		if err != nil {
			n.gap(v.Index, "mounting at "+m.where, err)
			continue
		}
		v.MountPoint = m.where
	}
	n.Tree = tree
	if len(tree.parts) == 1 && len(tree.mounts) == 0 {
		n.Tree = root.FS
	}
}

func (n *Node) bind(tree *joined, m mountEntry) {
	src, err := evidence.Resolve(tree, tree.Root(), m.source, true)
	if err != nil {
		return // the source is on a disk that is not here
	}
	at, err := evidence.Resolve(tree, tree.Root(), m.where, true)
	if err != nil {
		n.gap(0, fmt.Sprintf("bind mount of %q at %q", m.source, m.where), err)
		return
	}
	tree.mounts[at] = src
}

// rootVolume returns the volume that looks most like an operating system's
// root; of equals the first, and of volumes of which none does the largest.
func (n *Node) rootVolume() *Volume {
	var best *Volume
	bestScore := -1
	for _, v := range n.Volumes {
		if v.FS == nil {
			continue
		}
		score := 0
		for path, points := range map[string]int{"etc/fstab": 4, "etc/os-release": 8, "usr/lib/os-release": 8, "etc": 2, "var": 1, "usr": 1} {
			if _, err := evidence.Resolve(v.FS, v.FS.Root(), path, true); err == nil {
				score += points
			}
		}
		if score > bestScore || (score == 0 && bestScore == 0 && v.Size > best.Size) {
			best, bestScore = v, score
		}
	}
	return best
}

// volumeNamed finds the volume that a mount table's source means.
func (n *Node) volumeNamed(source string) *Volume {
	kind, value, ok := strings.Cut(source, "=")
	value = strings.Trim(value, `"`)
	for _, v := range n.Volumes {
		match := false
		switch {
		case !ok && strings.HasPrefix(source, "/dev/"):
			match = devicePartition(source) == v.Number && v.Number > 0
		case kind == "UUID":
			match = strings.EqualFold(value, v.Description.UUID)
		case kind == "LABEL":
			match = value == v.Description.Label
		case kind == "PARTUUID":
			match = strings.EqualFold(value, v.PartUUID)
		case kind == "PARTLABEL":
			match = value == v.PartName
		}
		if match && value+source != "" {
			return v
		}
	}
	return nil
}

// devicePartition returns the partition number in a device name such as
// /dev/sda2, /dev/xvda2 or /dev/nvme0n1p2, or 0.
func devicePartition(dev string) int {
	name := dev[strings.LastIndexByte(dev, '/')+1:]
	digits := len(name)
	for digits > 0 && name[digits-1] >= '0' && name[digits-1] <= '9' {
		digits--
	}
	number, err := strconv.Atoi(name[digits:])
	if err != nil {
		return 0
	}
	stem := name[:digits]
	if strings.HasPrefix(name, "nvme") || strings.HasPrefix(name, "mmcblk") || strings.HasPrefix(name, "loop") {
		if !strings.HasSuffix(stem, "p") {
			return 0
		}
		return number
	}
	if !strings.HasPrefix(name, "sd") && !strings.HasPrefix(name, "vd") && !strings.HasPrefix(name, "xvd") && !strings.HasPrefix(name, "hd") {
		return 0
	}
	return number
}
