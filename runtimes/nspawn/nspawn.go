// Package nspawn reads the machines that systemd-nspawn and machinectl keep:
//
//	/var/lib/machines/
//	  NAME/                 a machine's root filesystem, as it stands
//	  NAME.raw              a disk image of one
//	  NAME.nspawn           its settings, trusted less than those in /etc
//	/etc/systemd/nspawn/NAME.nspawn, /run/systemd/nspawn/NAME.nspawn
//	/etc/systemd/system/machines.target.wants/systemd-nspawn@NAME.service    starts with the node
//	/run/systemd/machines/NAME                 runs (a tmpfs: in copies of living nodes only)
//
// It follows machinectl(1), systemd-nspawn(1), systemd.nspawn(5), and of systemd
// src/shared/discover-image.c and src/nspawn/nspawn-settings.c. Machines elsewhere
// (systemd-nspawn -D FOLDER leaves no record) are not found, layers of portable
// services and system extensions are none, and OCI bundles (--oci-bundle) are not read.
//
// Input is hostile: names are those of a folder, a settings file has a size limit,
// and what it says is told and never followed.
package nspawn

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/internal/node"
)

// Name is the runtime's name in records.
const Name runtimes.Name = "nspawn"

// machinesDir is where machines are kept without being told so.
const machinesDir = "/var/lib/machines"

// settingsDirs are those of settings files, the strongest first (systemd.nspawn(5)).
var settingsDirs = []string{"/etc/systemd/nspawn", "/run/systemd/nspawn"}

// Roots returns the folder of machines, where there is one with any in it.
func Roots(fsys evidence.FS, root evidence.Ino) ([]string, error) {
	return node.Distinct(fsys, root, []string{machinesDir}, func(dir string) bool {
		return slices.ContainsFunc(node.Entries(fsys, root, dir), isMachine)
	}), nil
}

// Usual says whether a data root is one that needs no configuration.
func Usual(root string) bool { return root == machinesDir }

// isMachine says whether an entry may be a machine: names with a dot before them
// are those of downloads, locks and the pool (discover-image.c, image_find).
func isMachine(name string) bool {
	return name != "" && name[0] != '.' && !strings.HasSuffix(name, ".nspawn") && name != "lost+found"
}

// Store is one folder of machines.
type Store struct {
	fsys evidence.FS
	node evidence.Ino
	root string
	dir  evidence.Ino
}

// Open opens the machines below root.
func Open(fsys evidence.FS, nodeRoot evidence.Ino, root string) (*Store, error) {
	dir, err := evidence.Resolve(fsys, nodeRoot, root, true)
	if err != nil {
		return nil, fmt.Errorf("opening machines: %w", err)
	}
	return &Store{fsys, nodeRoot, root, dir}, nil
}

// Runtime returns Name.
func (s *Store) Runtime() runtimes.Name { return Name }

// Path returns the folder as the node named it.
func (s *Store) Path() string { return s.root }

// Images yields none: a machine that is a template is a machine.
func (s *Store) Images() iter.Seq2[runtimes.Image, error] {
	return func(func(runtimes.Image, error) bool) {}
}

// Snapshots yields none: a clone is a machine of its own.
func (s *Store) Snapshots() iter.Seq2[runtimes.Snapshot, error] {
	return func(func(runtimes.Snapshot, error) bool) {}
}

// Containers yields the machines in the order of their names.
func (s *Store) Containers() iter.Seq2[runtimes.Container, error] {
	return func(yield func(runtimes.Container, error) bool) {
		entries, err := evidence.List(s.fsys, s.dir)
		slices.SortFunc(entries, func(a, b evidence.Entry) int { return cmp.Compare(a.Name, b.Name) })
		for _, e := range entries {
			if !isMachine(e.Name) {
				continue
			}
			c, ok, err := s.machine(e)
			if (ok || err != nil) && !yield(c, err) {
				return
			}
		}
		if err != nil {
			yield(runtimes.Container{}, fmt.Errorf("machines of %s: %w", s.root, err))
		}
	}
}

// machine describes one entry of the folder; ok is false where it is none.
func (s *Store) machine(e evidence.Entry) (c runtimes.Container, ok bool, err error) {
	info, err := s.fsys.Stat(e.Ino)
	if err != nil {
		return c, false, fmt.Errorf("machine %q: %w", e.Name, err)
	}
	name, raw := strings.CutSuffix(e.Name, ".raw")
	if raw != (info.Type == evidence.TypeFile) || !raw && info.Type != evidence.TypeDir {
		return c, false, nil
	}
	c = runtimes.Container{
		ID: name, Name: name, Kind: runtimes.KindContainer, Runtime: Name, State: s.state(name), Created: info.Btime, StorePath: s.root,
		Rootfs: runtimes.Rootfs{Kind: runtimes.RootfsBind, Upper: runtimes.Layer{Dir: s.root + "/" + e.Name, Image: raw, ID: name, Size: -1}},
	}
	path, text, err := s.settings(name)
	if err != nil {
		return c, false, fmt.Errorf("settings of machine %q: %w", name, err)
	}
	if path != "" {
		c.Records = map[string]json.RawMessage{path: quoted(text)}
		apply(&c, text)
	}
	if s.exists("/etc/systemd/system/machines.target.wants/systemd-nspawn@" + name + ".service") {
		c.Annotations = map[string]string{"starts": "with the node, by machines.target"}
	}
	return c, true, nil
}

func quoted(text string) json.RawMessage {
	b, _ := json.Marshal(text) // of a string: it can't fail
	return b
}

// state is what /run says, where the evidence has it.
func (s *Store) state(name string) runtimes.State {
	switch {
	case s.exists("/run/systemd/machines/" + name):
		return runtimes.StateRunning
	case s.exists("/run/systemd/machines"):
		return runtimes.StateExited
	}
	return runtimes.StateUnknown
}

func (s *Store) exists(path string) bool {
	_, err := evidence.Resolve(s.fsys, s.node, path, true)
	return err == nil
}

// settings returns the settings file that counts for a machine: the first there
// is, as in nspawn.c (load_settings).
func (s *Store) settings(name string) (path, text string, err error) {
	for _, dir := range append(slices.Clone(settingsDirs), s.root) {
		b, err := node.Read(s.fsys, s.node, dir+"/"+name+".nspawn")
		if err != nil {
			return "", "", err
		}
		if b != nil {
			return dir + "/" + name + ".nspawn", string(b), nil
		}
	}
	return "", "", nil
}
