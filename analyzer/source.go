package analyzer

import (
	"path"
	"strconv"
	"strings"

	"lagan/evidence/volume"
)

// volumeNamed finds the volume that a mount table's source means, or nil.
func (n *Node) volumeNamed(source string) *Volume {
	source = strings.Trim(source, `"`)
	kind, value, tagged := strings.Cut(source, "=")
	if dev, ok := strings.CutPrefix(source, "/dev/disk/by-"); ok {
		kind, value, _ = strings.Cut(dev, "/")
		value = unescapeHex(value) // as udev writes what a label may have
		kind = strings.ToUpper(kind)
		tagged = kind != "ID" && kind != "PATH"
	}
	value = strings.Trim(value, `"`)
	if tagged && value == "" {
		return nil
	}
	var is func(v *Volume) bool
	switch {
	case tagged && kind == "UUID":
		is = func(v *Volume) bool { return strings.EqualFold(value, v.Description.UUID) }
	case tagged && kind == "LABEL":
		is = func(v *Volume) bool { return value == v.Description.Label }
	case tagged && kind == "PARTUUID":
		is = func(v *Volume) bool { return strings.EqualFold(value, v.PartUUID) }
	case tagged && kind == "PARTLABEL":
		is = func(v *Volume) bool { return value == v.PartName }
	case strings.HasPrefix(source, "/dev/"):
		return n.deviceNamed(source)
	default:
		return nil
	}
	for _, v := range n.Volumes {
		if is(v) && !v.member {
			return v
		}
	}
	return nil
}

// deviceNamed finds the volume that a device's name means: a logical volume, an
// array, or a partition or whole disk. Which disk was sda and which nvme1n1 no
// disk says; the order in which they were given is taken for it.
func (n *Node) deviceNamed(dev string) *Volume {
	number, disk := devicePartition(dev), deviceDisk(dev)
	var first, arrays []*Volume
	for _, v := range n.Volumes {
		switch {
		case v.member:
		case v.Scheme == volume.SchemeLVM && logicalVolume(dev, v.PartName):
			return v
		case v.Scheme == volume.SchemeMD:
			if _, name, _ := strings.Cut(v.PartName, ":"); dev == "/dev/md/"+name || dev == "/dev/md/"+v.PartName {
				return v
			}
			arrays = append(arrays, v)
		case v.Number != number || number == 0 && (v.Scheme != volume.SchemeNone || disk < 1):
		case n.placeOfDisk(v) == disk:
			return v
		case number > 0:
			first = append(first, v)
		}
	}
	if isArray := strings.HasPrefix(dev, "/dev/md"); isArray && len(arrays) == 1 {
		return arrays[0]
	}
	if len(first) > 0 {
		return first[0]
	}
	return nil
}

// placeOfDisk returns the place of a volume's disk among those given, from 0 on.
func (n *Node) placeOfDisk(v *Volume) int {
	for i, e := range n.Evidence {
		if e == v.Evidence {
			return i
		}
	}
	return -1
}

// deviceDisk returns the place of the disk that a device's name has: 0 for
// /dev/sda, 1 for /dev/xvdb2 and /dev/nvme1n1p3; -1 for other names.
func deviceDisk(dev string) int {
	name := path.Base(dev)
	if rest, ok := strings.CutPrefix(name, "nvme"); ok {
		digits, _, _ := strings.Cut(rest, "n")
		if i, err := strconv.Atoi(digits); err == nil {
			return i
		}
		return -1
	}
	for _, prefix := range []string{"xvd", "sd", "vd", "hd"} {
		if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" && rest[0] >= 'a' && rest[0] <= 'z' && strings.Trim(rest[1:], "0123456789") == "" {
			return int(rest[0] - 'a')
		}
	}
	return -1
}

// logicalVolume says whether a device's name is that of GROUP/NAME: /dev/GROUP/NAME, or
// /dev/mapper/GROUP-NAME with the dashes of both doubled, as the device mapper names them.
func logicalVolume(dev, name string) bool {
	group, lv, _ := strings.Cut(name, "/")
	double := func(s string) string { return strings.ReplaceAll(s, "-", "--") }
	return dev == "/dev/"+name || dev == "/dev/mapper/"+double(group)+"-"+double(lv)
}

// devicePartition returns the partition number in a device name such as
// /dev/sda2, /dev/xvda2, /dev/nvme0n1p2 or /dev/disk/by-id/scsi-1-part2, or 0.
func devicePartition(dev string) int {
	if i := strings.LastIndex(dev, "-part"); i >= 0 && strings.HasPrefix(dev, "/dev/disk/by-") {
		number, err := strconv.Atoi(dev[i+len("-part"):])
		if err != nil {
			return 0
		}
		return number
	}
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
