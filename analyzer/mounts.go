package analyzer

import (
	"errors"
	"io/fs"
	"maps"
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
	dir     string // the folder of the volume that is shown; "" its root
	fstype  string
	options []string
	from    string // who says so
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

// parseMountUnit reads a systemd.mount(5) unit with its drop-ins behind it; name
// is the unit's, which says where it is mounted if nothing else does.
func parseMountUnit(name string, b []byte) (mountEntry, bool) {
	m := mountEntry{where: unitPath(strings.TrimSuffix(name, ".mount"))}
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
		switch v = strings.ReplaceAll(strings.TrimSpace(v), "%%", "%"); strings.TrimSpace(k) {
		case "What":
			m.source = v
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

// unitPath undoes systemd-escape(1) --path: "-" is a slash, "\x2d" a dash.
func unitPath(name string) string {
	if name == "-" {
		return "/"
	}
	return "/" + unescapeHex(strings.ReplaceAll(name, "-", "/"))
}

// unescapeHex undoes \xNN, as systemd and udev write what they don't allow.
func unescapeHex(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if strings.HasPrefix(s[i:], `\x`) && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// mountTable returns what the root filesystem says is mounted where: its units
// first, which systemd prefers to what it makes of fstab.
func (n *Node) mountTable(root *Volume, top evidence.Ino) []mountEntry {
	table := n.mountUnits(root, top)
	b, err := evidence.ReadFile(root.FS, top, "etc/fstab", maxConfigFile)
	switch {
	case err == nil:
		for _, m := range parseFstab(b) {
			m.from = "/etc/fstab"
			table = append(table, m)
		}
	case !errors.Is(err, fs.ErrNotExist):
		n.gap(root.Index, "/etc/fstab", err)
	}
	return table
}

// unitDirs are where systemd looks for units; those before hide those behind.
var unitDirs = []string{"etc/systemd/system", "run/systemd/system", "run/systemd/generator", "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"}

// mountUnits reads the mount units of the root filesystem.
func (n *Node) mountUnits(root *Volume, top evidence.Ino) []mountEntry {
	var table []mountEntry
	seen := map[string]bool{}
	for _, dir := range unitDirs {
		ino, err := evidence.Resolve(root.FS, top, dir, true)
		if err != nil {
			continue // most nodes have no such folder
		}
		units, err := evidence.List(root.FS, ino)
		if err != nil {
			n.gap(root.Index, "/"+dir, err)
		}
		for _, u := range units {
			if !strings.HasSuffix(u.Name, ".mount") || seen[u.Name] {
				continue
			}
			seen[u.Name] = true
			path := dir + "/" + u.Name
			b, err := evidence.ReadFile(root.FS, top, path, maxConfigFile)
			if err != nil {
				if u.Type != evidence.TypeSymlink { // one that leads to /dev/null masks the unit
					n.gap(root.Index, "/"+path, err)
				}
				continue
			}
			if m, ok := parseMountUnit(u.Name, append(b, dropIns(root.FS, top, u.Name)...)); ok {
				m.from = "/" + path
				table = append(table, m)
			}
		}
	}
	return table
}

// dropIns returns what is added to a unit in its folders UNIT.d, by name.
func dropIns(fsys evidence.FS, top evidence.Ino, unit string) []byte {
	paths := map[string]string{}
	for _, dir := range unitDirs {
		ino, err := evidence.Resolve(fsys, top, dir+"/"+unit+".d", true)
		if err != nil {
			continue
		}
		entries, _ := evidence.List(fsys, ino) // what can't be read of it shows when the tree is walked
		for _, e := range entries {
			if _, hidden := paths[e.Name]; !hidden && strings.HasSuffix(e.Name, ".conf") {
				paths[e.Name] = dir + "/" + unit + ".d/" + e.Name
			}
		}
	}
	var out []byte
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		if b, err := evidence.ReadFile(fsys, top, paths[name], maxConfigFile); err == nil {
			out = append(append(out, '\n'), b...)
		}
	}
	return out
}
