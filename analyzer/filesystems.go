package analyzer

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/evidence/btrfs"
	"lagan/evidence/erofs"
	"lagan/evidence/ext4"
	"lagan/evidence/squashfs"
	"lagan/evidence/tarfs"
	"lagan/evidence/volume"
	"lagan/evidence/xfs"
)

// Opener opens one kind of filesystem; evidence.ErrFormat says that it is another kind.
type Opener struct {
	Name string
	Open func(io.ReaderAt, int64, evidence.Options) (evidence.FS, error)
}

// openers are asked in turn: what the caller brings, then our own.
func (n *Node) filesystems() []Opener { return append(slices.Clip(n.options.Filesystems), openers...) }

// openers are asked in turn. The two commonest come first.
var openers = []Opener{
	{"ext4", func(r io.ReaderAt, size int64, o evidence.Options) (evidence.FS, error) {
		return opened(ext4.Open(r, size, o))
	}},
	{"btrfs", func(r io.ReaderAt, size int64, o evidence.Options) (evidence.FS, error) {
		return opened(btrfs.Open(r, size, o))
	}},
	{"erofs", func(r io.ReaderAt, size int64, o evidence.Options) (evidence.FS, error) {
		return opened(erofs.Open(r, size, o))
	}},
	{"squashfs", func(r io.ReaderAt, size int64, o evidence.Options) (evidence.FS, error) {
		return opened(squashfs.Open(r, size, o))
	}},
	{"xfs", func(r io.ReaderAt, size int64, o evidence.Options) (evidence.FS, error) {
		return opened(xfs.Open(r, size, o))
	}},
	{"tar", func(r io.ReaderAt, size int64, o evidence.Options) (evidence.FS, error) {
		return opened(tarfs.Open(r, size, o))
	}},
}

// opened keeps a nil *FS from becoming an evidence.FS that isn't nil.
func opened[F evidence.FS](fsys F, err error) (evidence.FS, error) {
	if err != nil {
		return nil, err
	}
	return fsys, nil
}

// unread names what hides a filesystem that lagan can't reach: its absence
// from the results must be said. What else has no reader (swap, vfat of the
// boot loader) is named by info and is no gap.
var unread = map[string]bool{
	"crypto_LUKS": true, "BitLocker": true, "LVM2_member": true, "linux_raid_member": true, "bcachefs": true, "bcache": true,
	"stratis": true, "vdo": true, "zfs_member": true, "f2fs": true, "jfs": true, "reiserfs": true, "apfs": true, "ntfs": true,
}

// journalDevices names what is the journal of a filesystem on another volume.
var journalDevices = map[string]bool{"jbd": true, "xfs_external_log": true}

// assemble adds the arrays and logical volumes that the disks' volumes are parts of.
func (n *Node) assemble() {
	var parts []volume.Volume
	var of []*Volume
	for _, v := range n.Volumes {
		if v.section != nil {
			parts = append(parts, volume.Volume{ReaderAt: v.section, Size: v.Size, Index: v.Index, Number: v.Number, Start: v.Start, Scheme: v.Scheme, UUID: v.PartUUID})
			of = append(of, v)
		}
	}
	var all volume.Assembled
	n.guard(0, "arrays and logical volumes", func() error {
		all = volume.Assemble(parts, func(err error) { n.gap(0, "", err) })
		for _, i := range all.Members {
			of[i].member = true
			of[i].Content = volume.Identify(of[i].section)
		}
		n.pools = all.Pools
		return nil
	})
	for _, v := range all.Made {
		n.Volumes = append(n.Volumes, &Volume{
			Index: len(n.Volumes) + 1, Evidence: n.Evidence[0], Scheme: v.Scheme, Number: v.Number, Start: v.Start, Size: v.Size,
			PartType: firstOf(v.TypeName, v.Type), PartName: v.Name, PartUUID: v.UUID, section: v.ReaderAt,
		})
	}
}

// openFilesystems opens what each volume holds. A volume that can't be read is
// a gap and does not keep the others from being read.
func (n *Node) openFilesystems() {
	for _, v := range n.Volumes {
		if v.FS != nil || v.member || (n.options.Volume > 0 && v.Index != n.options.Volume) {
			continue
		}
		n.guard(v.Index, "", func() error { return n.openFilesystem(v) })
		if v.FS != nil {
			v.Description = evidence.Describe(v.FS)
			v.Content = firstOf(v.Description.Type, v.Content)
		}
		if e := v.Evidence; v.Content == "tar" && v.Scheme == volume.SchemeNone && e.image != nil {
			e.Format = strings.TrimSuffix(e.Format, "raw") + "tar"
		}
	}
}

func (n *Node) openFilesystem(v *Volume) error {
	options := evidence.Options{Warn: n.warnOf(v), NoJournal: n.options.NoJournal}
	var others []*Volume
	for _, w := range n.Volumes {
		if w != v && w.section != nil && !w.member {
			others = append(others, w)
			options.Devices = append(options.Devices, evidence.Device{ReaderAt: w.section, Size: w.Size})
		}
	}
	if c := volume.Identify(v.section); journalDevices[c] {
		v.Content = c // read with the filesystem that it belongs to
		return nil
	}
	for _, o := range n.filesystems() {
		fsys, err := o.Open(v.section, v.Size, options)
		if errors.Is(err, evidence.ErrFormat) {
			continue
		}
		if err != nil {
			v.Content = o.Name
			v.Err = fmt.Errorf("opening %s: %w", o.Name, err)
			return v.Err
		}
		v.FS = fsys
		for _, i := range evidence.Describe(fsys).Devices {
			others[i].member = true
			others[i].Content = firstOf(others[i].Content, o.Name)
		}
		return nil
	}
	v.Content = volume.Identify(v.section)
	v.Description = volume.Describe(v.section, v.Content)
	if unread[v.Content] {
		v.Err = fmt.Errorf("%s is recognised and not read: %w", v.Content, evidence.ErrUnsupported)
		return v.Err
	}
	return nil
}
