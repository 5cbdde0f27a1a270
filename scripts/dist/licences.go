package main

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// licenceFile matches the files in which a module says on what terms it may be passed on.
var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)`)

// licences returns the terms of everything that the binaries are made of, as most
// of them ask of who passes them on: Go's own, and each module's.
func (r *releaseOf) licences(programs ...map[platform]string) ([]byte, error) {
	places := map[string]string{}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, err
	}
	places["Go"] = strings.TrimSpace(string(root))
	for _, path := range inOrder(programs) {
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for _, m := range info.Deps {
			name := m.Path + " " + m.Version
			if places[name] != "" {
				continue
			}
			dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", m.Path).Output()
			if err != nil {
				return nil, fmt.Errorf("looking for the module %s: %w", m.Path, err)
			}
			places[name] = strings.TrimSpace(string(dir))
		}
	}
	var names []string
	for name := range places {
		names = append(names, name)
	}
	slices.Sort(names)
	var b bytes.Buffer
	b.WriteString("What the programs of this release are made of, beside lagan itself, and on what terms.\n")
	for _, name := range names {
		if err := appendLicences(&b, name, places[name]); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// appendLicences adds the files of one module. A module without any is an error:
// nobody could pass it on.
func appendLicences(b *bytes.Buffer, name, dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	found := false
	for _, e := range list {
		if e.IsDir() || !licenceFile.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		found = true
		fmt.Fprintf(b, "\n%s\n%s, %s\n\n%s\n", strings.Repeat("=", 80), name, e.Name(), bytes.TrimSpace(text))
	}
	if !found {
		return fmt.Errorf("%s has no licence in %s", name, dir)
	}
	return nil
}
