package analyzer

import (
	"cmp"
	"slices"
	"strings"

	"lagan/evidence"
)

// layout returns the mounts of distributions that keep no fstab for them, told
// by the names that their partitions always have.
func (n *Node) layout() []mountEntry {
	bind := []string{"bind"}
	var out []mountEntry
	as := func(from string, entries ...mountEntry) {
		for _, m := range entries {
			m.from = from
			out = append(out, m)
		}
	}
	if n.hasPartition("BOTTLEROCKET-DATA") { // bottlerocket-os: packages/release, *.mount
		as("Bottlerocket's layout", mountEntry{source: "PARTLABEL=BOTTLEROCKET-DATA", where: "/local"},
			mountEntry{source: "/local/var", where: "/var", options: bind},
			mountEntry{source: "/local/opt", where: "/opt", options: bind},
			mountEntry{source: "/local/mnt", where: "/mnt", options: bind},
			mountEntry{source: "PARTLABEL=BOTTLEROCKET-PRIVATE", where: "/var/lib/bottlerocket"})
	}
	if n.hasPartition("STATE") && n.hasPartition("ROOT-A") { // Container-Optimized OS: chromeos_startup
		as("Container-Optimized OS' layout", mountEntry{source: "PARTLABEL=STATE", where: "/mnt/stateful_partition"},
			mountEntry{source: "/mnt/stateful_partition/var", where: "/var", options: bind},
			mountEntry{source: "/mnt/stateful_partition/home", where: "/home", options: bind})
	}
	if n.hasPartition("USR-A") { // Flatcar: the update engine's partition table
		usr := "USR-A"
		for _, v := range n.Volumes {
			if v.PartName == usr && n.standsBy(v) {
				usr = "USR-B"
			}
		}
		as("Flatcar's layout", mountEntry{source: "PARTLABEL=" + usr, where: "/usr"}, mountEntry{source: "PARTLABEL=OEM", where: "/oem"})
	}
	if n.isTalos() {
		as("Talos' layout", mountEntry{source: "PARTLABEL=EPHEMERAL", where: "/var"}, mountEntry{source: "PARTLABEL=STATE", where: "/system/state"})
	}
	for _, v := range n.Volumes { // ostree: all deployments of one system share its /var
		if v.FS == nil || v.MountPoint != "/" {
			continue
		}
		if deploy, err := evidence.Resolve(v.FS, v.FS.Root(), "ostree/deploy", false); err == nil {
			systems, _ := evidence.List(v.FS, deploy)
			for _, os := range systems {
				as("ostree's layout", mountEntry{source: "UUID=" + v.Description.UUID, dir: "ostree/deploy/" + os.Name + "/var", where: "/var"})
			}
		}
	}
	return out
}

// ostreeDeployments finds ostree/deploy/OS/deploy/CHECKSUM.N, the one that the
// boot loader starts first, then the newest: of equal roots the first is taken.
func (n *Node) ostreeDeployments(fsys evidence.FS) []evidence.Ino {
	deploy, err := evidence.Resolve(fsys, fsys.Root(), "ostree/deploy", false)
	if err != nil {
		return nil
	}
	type deployment struct {
		ino   evidence.Ino
		mtime int64
	}
	var all []deployment
	systems, _ := evidence.List(fsys, deploy) // what can't be read of it shows when the tree is walked
	for _, os := range systems {
		dir, err := evidence.Resolve(fsys, os.Ino, "deploy", false)
		if err != nil {
			continue
		}
		entries, _ := evidence.List(fsys, dir)
		for _, d := range entries {
			if info, err := fsys.Stat(d.Ino); err == nil && info.Type == evidence.TypeDir {
				all = append(all, deployment{d.Ino, info.Mtime.UnixNano()})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b deployment) int { return cmp.Compare(b.mtime, a.mtime) })
	var out []evidence.Ino
	if booted, ok := n.ostreeBooted(fsys); ok {
		out = append(out, booted)
	}
	for _, d := range all {
		if !slices.Contains(out, d.ino) {
			out = append(out, d.ino)
		}
	}
	return out
}

// ostreeBooted returns the deployment of the boot loader's first entry, which
// ostree names ostree-N-OS.conf, the highest N first (ostree-bootloader-uboot.c,
// ostree-bootconfig-parser.c): its kernel argument ostree= is a link to the folder.
func (n *Node) ostreeBooted(fsys evidence.FS) (evidence.Ino, bool) {
	first, link := "", ""
	for _, v := range n.Volumes {
		for _, dir := range []string{"loader/entries", "boot/loader/entries"} {
			if v.FS == nil {
				continue
			}
			ino, err := evidence.Resolve(v.FS, v.FS.Root(), dir, true)
			if err != nil {
				continue
			}
			entries, _ := evidence.List(v.FS, ino) // what can't be read of it shows when the tree is walked
			for _, e := range entries {
				b, err := evidence.ReadFile(v.FS, ino, e.Name, maxConfigFile)
				if err != nil || !strings.HasPrefix(e.Name, "ostree-") || e.Name <= first {
					continue
				}
				for _, arg := range strings.Fields(string(b)) {
					if target, ok := strings.CutPrefix(arg, "ostree="); ok {
						first, link = e.Name, target
					}
				}
			}
		}
	}
	if link == "" {
		return 0, false
	}
	ino, err := evidence.Resolve(fsys, fsys.Root(), link, true)
	return ino, err == nil
}

func (n *Node) hasPartition(name string) bool {
	return slices.ContainsFunc(n.Volumes, func(v *Volume) bool { return v.PartName == name })
}

// isTalos says whether the disk has the partitions of Talos Linux, whose root
// is an archive in memory.
func (n *Node) isTalos() bool { return n.hasPartition("EPHEMERAL") && n.hasPartition("STATE") }

// partners are the partitions whose flags say which of two systems is in use,
// where the system's own don't: Container-Optimized OS starts by its kernels',
// Bottlerocket by its boot partitions'.
var partners = map[string]string{"ROOT": "KERN", "BOTTLEROCKET-ROOT": "BOTTLEROCKET-BOOT"}

// standsBy says whether a partition NAME-A or NAME-B is of the system that the
// boot loader would not start: ChromiumOS' disk format, "Selecting the kernel",
// keeps a priority in the type's bits of the partition's attributes.
func (n *Node) standsBy(v *Volume) bool {
	stem, side, ok := cutSide(v.PartName)
	if !ok {
		return false
	}
	for _, stem := range []string{stem, partners[stem]} {
		own, other := n.priority(v, stem+"-"+side), n.priority(v, stem+"-"+map[string]string{"A": "B", "B": "A"}[side])
		if own != other {
			return own < other
		}
	}
	return false
}

func cutSide(name string) (stem, side string, ok bool) {
	i := len(name) - 2
	if i < 1 || name[i] != '-' || name[i+1] != 'A' && name[i+1] != 'B' {
		return "", "", false
	}
	return name[:i], name[i+1:], true
}

// priority returns that of a partition on the disk of v; 0 is never started.
func (n *Node) priority(v *Volume, name string) int {
	for _, o := range n.Volumes {
		if o.Evidence == v.Evidence && o.PartName == name {
			return int(o.attributes >> 48 & 0xf)
		}
	}
	return 0
}
