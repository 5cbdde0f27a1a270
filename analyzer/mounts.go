package analyzer

import (
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"lagan/evidence"
	"lagan/evidence/volume"
)

// maxConfigFile bounds the configuration files that are read whole: real ones have a few kilobytes.
const maxConfigFile = 4 << 20

// mountEntry is one line of /etc/fstab or one systemd mount unit.
type mountEntry struct {
	source  string // UUID=..., LABEL=..., /dev/..., or a folder for a bind mount
	where   string
	dir     string // the folder of the volume that is shown; "" its root
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

// mountTable returns what the root filesystem says is mounted where.
func (n *Node) mountTable(root *Volume, top evidence.Ino) []mountEntry {
	var table []mountEntry
	b, err := evidence.ReadFile(root.FS, top, "etc/fstab", maxConfigFile)
	switch {
	case err == nil:
		table = parseFstab(b)
	case !errors.Is(err, fs.ErrNotExist):
		n.gap(root.Index, "/etc/fstab", err)
	}
	for _, dir := range []string{"etc/systemd/system", "usr/lib/systemd/system", "run/systemd/generator"} {
		ino, err := evidence.Resolve(root.FS, top, dir, true)
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
	return table
}

// volumeNamed finds the volume that a mount table's source means.
func (n *Node) volumeNamed(source string) *Volume {
	kind, value, ok := strings.Cut(source, "=")
	value = strings.Trim(value, `"`)
	for _, v := range n.Volumes {
		match := false
		switch {
		case !ok && strings.HasPrefix(source, "/dev/"):
			match = devicePartition(source) == v.Number && v.Number > 0 || v.Scheme == volume.SchemeLVM && logicalVolume(source, v.PartName)
		case kind == "UUID":
			match = strings.EqualFold(value, v.Description.UUID)
		case kind == "LABEL":
			match = value == v.Description.Label && value != ""
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

// logicalVolume says whether a device's name is that of GROUP/NAME: /dev/GROUP/NAME, or
// /dev/mapper/GROUP-NAME with the dashes of both doubled, as the device mapper names them.
func logicalVolume(dev, name string) bool {
	group, lv, _ := strings.Cut(name, "/")
	double := func(s string) string { return strings.ReplaceAll(s, "-", "--") }
	return dev == "/dev/"+name || dev == "/dev/mapper/"+double(group)+"-"+double(lv)
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
