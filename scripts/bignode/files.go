//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// perDir is how many of a layer's files are in one folder.
const perDir = 50

// layerFiles fills a layer's folder; a container's base layers of one image have
// the same folders and other files.
func (n node) layerFiles(dir string, layer int) error {
	for i := range n.files {
		name := fmt.Sprintf("%s/usr/lib/python3/d%03d/module_%02d_%05d.py", dir, i/perDir, layer, i)
		if err := n.write(name, []byte(filler(200+i*37%3000))); err != nil {
			return err
		}
	}
	return nil
}

// upperFiles fills an upper folder: a third of the changes are new files, a third
// files of the image that were written again, a third whiteouts, for which it
// must be root that calls.
func (n node) upperFiles(dir string, container int) error {
	for i := range n.changes {
		if n.files == 0 {
			return nil
		}
		of := (container*31 + i*7) % n.files
		name := fmt.Sprintf("%s/usr/lib/python3/d%03d/module_%02d_%05d.py", dir, of/perDir, i%n.layers, of)
		var err error
		switch i % 3 {
		case 0:
			err = n.write(fmt.Sprintf("%s/var/lib/app/data-%05d", dir, i), []byte(filler(500)))
		case 1:
			err = n.write(name, []byte("changed "+filler(400+i)))
		default:
			name = filepath.Join(n.dir, name)
			if err = os.MkdirAll(filepath.Dir(name), 0o755); err == nil {
				err = unix.Mknod(name, unix.S_IFCHR, 0)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
