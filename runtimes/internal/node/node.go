// Package node reads the few files of a node's own configuration that tell
// where a runtime keeps its data: systemd units and their environment files,
// the top of TOML documents, users' home folders.
//
// The readers are tolerant: they take what they know and pass over the rest.
// Input is hostile; files have size limits, and nothing is followed out of the node's root.
package node

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"lagan/evidence"
)

// maxFile bounds a configuration file that is read.
const maxFile = 1 << 20

// maxUsers bounds the home folders that are looked at.
const maxUsers = 10000

// Read returns a configuration file, nil where it isn't there.
func Read(fsys evidence.FS, node evidence.Ino, name string) ([]byte, error) {
	b, err := evidence.ReadFile(fsys, node, name, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// Entries returns the names in a folder, in order, none where it isn't there.
func Entries(fsys evidence.FS, node evidence.Ino, dir string) []string {
	ino, err := evidence.Resolve(fsys, node, dir, true)
	if err != nil {
		return nil
	}
	entries, _ := evidence.List(fsys, ino)
	out := make([]string, len(entries))
	for i, e := range entries {
		out[i] = e.Name
	}
	return out
}

// Rootless says whether a data root is a user's own, by its place and by its owner.
func Rootless(fsys evidence.FS, node evidence.Ino, root string) bool {
	if strings.Contains(root, "/.local/share/") {
		return true
	}
	ino, err := evidence.Resolve(fsys, node, root, true)
	if err != nil {
		return false
	}
	info, err := fsys.Stat(ino)
	return err == nil && info.UID != 0
}

// unitDirs are systemd's folders of units, the strongest first: systemd.unit(5).
var unitDirs = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

// Flags returns the paths that the unit's command line (drop-ins included) and
// the given environment files give to the named flags ("--root"), in the order of reading.
func Flags(fsys evidence.FS, node evidence.Ino, unit string, environment []string, flags ...string) ([]string, error) {
	all, err := Values(fsys, node, unit, environment, flags...)
	return slices.DeleteFunc(all, func(v string) bool { return !strings.HasPrefix(v, "/") }), err
}

// Values is Flags for values of any kind.
func Values(fsys evidence.FS, node evidence.Ino, unit string, environment []string, flags ...string) ([]string, error) {
	var files []string
	for _, dir := range unitDirs {
		files = append(files, dir+"/"+unit)
		for _, name := range Entries(fsys, node, dir+"/"+unit+".d") {
			if strings.HasSuffix(name, ".conf") {
				files = append(files, dir+"/"+unit+".d/"+name)
			}
		}
	}
	var out []string
	var failed error
	for _, f := range append(files, environment...) {
		b, err := Read(fsys, node, f)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		out = append(out, flagValues(string(b), flags)...)
	}
	return out, failed
}

// flagValues finds flags in a unit or environment file: "--flag=value", "--flag value".
func flagValues(text string, flags []string) []string {
	text = strings.ReplaceAll(text, "\\\n", " ")
	var out []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		words := Words(line)
		for i, w := range words {
			if j := strings.Index(w, "=-"); j > 0 {
				w = w[j+1:] // DOCKER_OPTS=--data-root=...
			}
			name, value, ok := strings.Cut(w, "=")
			if !slices.Contains(flags, name) {
				continue
			}
			if !ok && i+1 < len(words) {
				value = words[i+1]
			}
			if value != "" && !strings.HasPrefix(value, "-") {
				out = append(out, value)
			}
		}
	}
	return out
}

// Words splits a line at blanks and quotes.
func Words(line string) []string {
	return strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' || r == '\r' || r == '"' || r == '\'' })
}

// Users returns the users of /etc/passwd by their home folders: the fields name, uid.
func Users(fsys evidence.FS, node evidence.Ino) map[string][2]string {
	out := make(map[string][2]string)
	b, _ := Read(fsys, node, "/etc/passwd") // without it nothing is known of users
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) == 7 && strings.HasPrefix(f[5], "/") && len(out) < maxUsers {
			out[path.Clean(f[5])] = [2]string{f[0], f[2]}
		}
	}
	return out
}

// Homes returns the home folders of the node's users: root's, those of
// /etc/passwd, and all below /home.
func Homes(fsys evidence.FS, node evidence.Ino) []string {
	out := []string{"/root"}
	b, _ := Read(fsys, node, "/etc/passwd") // what it doesn't tell, /home does
	for line := range strings.Lines(string(b)) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) == 7 && strings.HasPrefix(f[5], "/") && f[5] != "/" {
			out = append(out, path.Clean(f[5]))
		}
	}
	for _, name := range Entries(fsys, node, "/home") {
		out = append(out, "/home/"+name)
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return out[:min(len(out), maxUsers)]
}

// Distinct returns the candidates that hold answers yes for, in their order,
// each folder once though links may lead to it by several names.
func Distinct(fsys evidence.FS, node evidence.Ino, candidates []string, holds func(root string) bool) []string {
	var out []string
	met := make(map[evidence.Ino]bool)
	for _, c := range candidates {
		c = path.Clean("/" + c)
		ino, err := evidence.Resolve(fsys, node, c, true)
		if err != nil || met[ino] || !holds(c) {
			continue
		}
		met[ino] = true
		out = append(out, c)
	}
	return out
}

// YAMLValue returns the text of a key at the top of a YAML mapping, "" where there is none.
func YAMLValue(text, key string) string {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(strings.TrimRight(line, " \t\r\n"), key+":")
		if !ok {
			continue
		}
		rest = strings.TrimSpace(rest)
		if rest != "" && (rest[0] == '"' || rest[0] == '\'') {
			if end := strings.IndexByte(rest[1:], rest[0]); end >= 0 {
				return rest[1 : 1+end]
			}
			return ""
		}
		rest, _, _ = strings.Cut(rest, " #")
		return strings.TrimSpace(rest)
	}
	return ""
}

// Problem puts a file's name before what is wrong with it.
func Problem(name string, err error) error { return fmt.Errorf("%s: %w", name, err) }
