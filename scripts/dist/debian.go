package main

import (
	"bytes"
	"crypto/md5" // what dpkg's md5sums file is made of
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// control is the package's own description: Debian Policy, chapter 5.
const control = `Package: lagan
Version: %s
Architecture: %s
Maintainer: The lagan developers <lagan@localhost>
Installed-Size: %d
Section: admin
Priority: optional
Recommends: fuse3
Description: offline forensic analyzer of container nodes' disks
 lagan reads the disk of a Docker, containerd, Podman or Kubernetes node, or an
 image of one, without mounting it: containers, their files, what they changed,
 logs, findings and a timeline. The evidence is never written to.
`

// copyright is machine-readable: the copyright format 1.0 of Debian.
const copyright = `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: lagan

Files: *
Copyright: the lagan developers
License: Apache-2.0
 On Debian systems the licence is in /usr/share/common-licenses/Apache-2.0.
Comment: what the program links in has licences of its own: licences.gz.
`

// debian writes a package: an ar archive of a version, a control tar and a data tar (deb(5)).
func (r *releaseOf) debian(p platform, binary, manual string, licences []byte) error {
	data, err := debianTree(binary, manual, licences)
	if err != nil {
		return err
	}
	var size int
	var sums bytes.Buffer
	var names []string
	for name, e := range data {
		size += len(e.content)
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if data[name].target == "" {
			fmt.Fprintf(&sums, "%x  %s\n", md5.Sum(data[name].content), name)
		}
	}
	version := strings.ReplaceAll(r.version, "-", "~")
	about := tree{
		"control": {mode: 0o644, content: fmt.Appendf(nil, control, version, p.arch, (size+1023)/1024)},
		"md5sums": {mode: 0o644, content: sums.Bytes()},
	}
	members := []struct {
		name string
		tree tree
	}{{"control.tar.gz", about}, {"data.tar.gz", data}}
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	r.member(&b, "debian-binary", []byte("2.0\n"))
	for _, m := range members {
		plain, err := m.tree.tar("./", r.at)
		if err != nil {
			return err
		}
		z, err := packed(plain)
		if err != nil {
			return err
		}
		r.member(&b, m.name, z)
	}
	return os.WriteFile(filepath.Join(r.out, fmt.Sprintf("lagan_%s_%s.deb", version, p.arch)), b.Bytes(), 0o644)
}

// member appends a file to an ar archive (ar(5)).
func (r *releaseOf) member(b *bytes.Buffer, name string, content []byte) {
	fmt.Fprintf(b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", name, r.at.Unix(), 0, 0, "100644", len(content))
	b.Write(content)
	if len(content)%2 == 1 {
		b.WriteByte('\n')
	}
}

// dropIns are the names under which the program answers as older tools do.
var dropIns = []string{"ce", "container-explorer", "de.py"}

func debianTree(binary, manual string, licences []byte) (tree, error) {
	program, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	terms, err := packed(licences)
	if err != nil {
		return nil, err
	}
	t := tree{
		"usr/bin/lagan":                   {mode: 0o755, content: program},
		"usr/share/doc/lagan/copyright":   {mode: 0o644, content: []byte(copyright)},
		"usr/share/doc/lagan/licences.gz": {mode: 0o644, content: terms},
	}
	for _, name := range dropIns {
		t["usr/lib/lagan/"+name] = entry{target: "../../bin/lagan"}
	}
	for name, from := range map[string]string{"changelog.gz": "CHANGELOG.md", "README.md": "README.md", "formats.md": "docs/formats.md"} {
		b, err := os.ReadFile(from)
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(name, ".gz") {
			if b, err = packed(b); err != nil {
				return nil, err
			}
		}
		t["usr/share/doc/lagan/"+name] = entry{mode: 0o644, content: b}
	}
	files, err := filesBelow(manual)
	if err != nil {
		return nil, err
	}
	places := map[string]string{
		"lagan.bash": "usr/share/bash-completion/completions/lagan",
		"_lagan":     "usr/share/zsh/vendor-completions/_lagan",
		"lagan.fish": "usr/share/fish/vendor_completions.d/lagan.fish",
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		place, ok := places[filepath.Base(path)]
		if !ok {
			place = "usr/share/man/man1/" + filepath.Base(path) + ".gz"
			if b, err = packed(b); err != nil {
				return nil, err
			}
		}
		t[place] = entry{mode: 0o644, content: b}
	}
	return t, nil
}
