//go:build linux

// Command tamper checks that `lagan verify` finds what an attacker with a node's
// disk changes in an image's layers: it has the kernel make one change at a time
// in copies of a raw disk image, and takes exactly that path or object to be named.
//
//	go run ./scripts/tamper node.img
//
// It needs root, for mounts, and room for one copy. The image itself is only read.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lagan/analyzer"
	"lagan/evidence"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: tamper IMAGE")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "tamper:", err)
		os.Exit(1)
	}
}

// target is what is changed: one layer's folder and what lies in it.
type target struct {
	dir, file, other, link, sub string
	objects                     map[string]string // kind to path: blob, tar-split, config, manifest
	start, size                 int64
}

func run(path string) error {
	at, err := choose(path)
	if err != nil {
		return err
	}
	fmt.Printf("untouched: intact; layer %s\n", at.dir)
	tmp, err := os.MkdirTemp("", "tamper-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	failed := 0
	all := at.changes()
	for _, c := range all {
		found, err := try(path, tmp, at, c)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if len(found) != 1 || found[0] != c.want {
			failed++
			fmt.Printf("FAILED %s: found %q, not %q\n", c.name, found, c.want)
			continue
		}
		fmt.Printf("ok %s: %s\n", c.name, c.want)
	}
	fmt.Printf("%d of %d changes named exactly\n", len(all)-failed, len(all))
	if failed > 0 {
		return errors.New("verify missed changes, or named others")
	}
	return nil
}

// choose verifies the image as it is and chooses a layer that was proved.
func choose(path string) (*target, error) {
	n, err := analyzer.Open(context.Background(), path, analyzer.Options{})
	if err != nil {
		return nil, err
	}
	defer n.Close()
	proven := make(map[string]bool)
	found, err := findings(n, func(v analyzer.Verdict) {
		if v.Result == analyzer.ResultOK && (v.Check == analyzer.CheckFolder || v.Check == analyzer.CheckTarSplit) {
			proven[v.Object] = true
		}
	})
	if err != nil {
		return nil, err
	}
	if len(found) > 0 {
		return nil, fmt.Errorf("the untouched image has findings: %q", found)
	}
	for _, i := range n.Images() {
		lower := i.Rootfs.Lower
		for k := len(lower) - 1; k >= 0; k-- {
			at := &target{dir: lower[k].Dir, objects: map[string]string{}}
			if !proven[at.dir] || !at.look(n.Tree) {
				continue
			}
			for _, v := range n.Volumes {
				if v.MountPoint == "/" {
					at.start, at.size = v.Start, v.Size
				}
			}
			if layer := len(lower) - 1 - k; layer < len(i.Blobs) {
				at.objects["blob"] = i.Blobs[layer].Path
			}
			at.objects["tar-split"] = lower[k].TarSplit
			for _, d := range i.Documents {
				at.objects[d.Kind] = d.Path
			}
			return at, nil
		}
	}
	return nil, errors.New("no layer of it can be proved, or none has files, folders and links")
}

// look finds something of each kind in a layer.
func (at *target) look(tree evidence.FS) bool {
	root, err := evidence.Resolve(tree, tree.Root(), at.dir, true)
	if err != nil {
		return false
	}
	err = evidence.Walk(tree, root, func(path string, e evidence.Entry, i evidence.Info, err error) error {
		switch {
		case err != nil:
			return err
		case i.Type == evidence.TypeFile && i.Size > 8 && i.Nlink == 1 && at.file == "":
			at.file = "/" + path
		case i.Type == evidence.TypeFile && i.Size > 8 && i.Nlink == 1 && at.other == "":
			at.other = "/" + path
		case i.Type == evidence.TypeSymlink && at.link == "":
			at.link = "/" + path
		case i.Type == evidence.TypeDir && path != "" && at.sub == "":
			at.sub = "/" + path
		}
		return nil
	})
	return err == nil && at.file != "" && at.other != "" && at.sub != ""
}

// change is one thing that an attacker does.
type change struct {
	name string
	do   func(root string) error
	want string // RESULT OBJECT PATH FIELD
}

// changes lists what is done. Times of modification are set back where a change
// would show by them alone.
func (at *target) changes() []change {
	in := func(path string) func(string) string { return func(root string) string { return root + at.dir + path } }
	want := func(result, path, field string) string {
		return strings.TrimSpace(result + " " + at.dir + path + " " + field)
	}
	file, other, sub := in(at.file), in(at.other), in(at.sub)
	out := []change{
		{"a byte of a file", func(r string) error { return keepTime(file(r), func() error { return flip(file(r), 5) }) }, want("changed", at.file, "content")},
		{"a file made longer", func(r string) error { return keepTime(file(r), func() error { return grow(file(r)) }) }, want("changed", at.file, "size")},
		{"a mode", func(r string) error { return unix.Chmod(file(r), 0o4711) }, want("changed", at.file, "mode")},
		{"an owner", func(r string) error { return os.Lchown(other(r), 4242, 0) }, want("changed", at.other, "owner")},
		{"a group", func(r string) error { return os.Lchown(other(r), -1, 4242) }, want("changed", at.other, "owner")},
		{"a time", func(r string) error { return os.Chtimes(other(r), time.Now(), time.Unix(1_600_000_000, 0)) }, want("changed", at.other, "mtime")},
		{"a folder's mode", func(r string) error { return unix.Chmod(sub(r), 0o1777) }, want("changed", at.sub, "mode")},
		{"a file added", func(r string) error { return os.WriteFile(sub(r)+"/.evil", []byte("x"), 0o755) }, want("added", at.sub+"/.evil", "file")},
		{"a folder added", func(r string) error { return os.Mkdir(sub(r)+"/.evil", 0o755) }, want("added", at.sub+"/.evil", "dir")},
		{"a link added", func(r string) error { return os.Symlink("/tmp", sub(r)+"/.evil") }, want("added", at.sub+"/.evil", "symlink")},
		{"a device added", func(r string) error { return unix.Mknod(sub(r)+"/.evil", unix.S_IFBLK|0o600, int(unix.Mkdev(8, 0))) }, want("added", at.sub+"/.evil", "block")},
		{"a whiteout added", func(r string) error { return unix.Mknod(sub(r)+"/passwd.evil", unix.S_IFCHR, 0) }, want("added", at.sub+"/passwd.evil", "whiteout")},
		{"a hard link added", func(r string) error { return os.Link(file(r), sub(r)+"/.evil") }, want("added", at.sub+"/.evil", "file")},
		{"a file removed", func(r string) error { return os.Remove(other(r)) }, want("missing", at.other, "file")},
		{"an attribute added", func(r string) error { return unix.Setxattr(file(r), "user.evil", []byte("x"), 0) }, want("changed", at.file, "xattr user.evil")},
		{"a capability added", func(r string) error {
			return unix.Setxattr(file(r), "security.capability", []byte("\x01\x00\x00\x02\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00"), 0)
		}, want("changed", at.file, "xattr security.capability")},
		{"a folder made opaque", func(r string) error { return unix.Setxattr(sub(r), "trusted.overlay.opaque", []byte("y"), 0) }, want("changed", at.sub, "opaque")},
		{"a folder redirected", func(r string) error { return unix.Setxattr(sub(r), "trusted.overlay.redirect", []byte("/tmp"), 0) }, want("changed", at.sub, "xattr trusted.overlay.redirect")},
		{"a file become a folder", func(r string) error { return errors.Join(os.Remove(other(r)), os.Mkdir(other(r), 0o755)) }, want("changed", at.other, "type")},
	}
	if link := in(at.link); at.link != "" {
		out = append(out, change{"a link turned", func(r string) error {
			return keepTime(link(r), func() error { return errors.Join(os.Remove(link(r)), os.Symlink("/tmp/evil", link(r))) })
		}, want("changed", at.link, "target")})
	}
	for _, kind := range [...]string{"blob", "tar-split", "config", "manifest"} {
		path := at.objects[kind]
		if path == "" {
			continue
		}
		field := " digest"
		if kind == "tar-split" {
			field = ""
		}
		out = append(out, change{kind + " flipped", func(r string) error { return flip(r+path, 100) }, "changed " + path + field})
		if kind == "blob" || kind == "tar-split" {
			out = append(out, change{kind + " cut", func(r string) error {
				st, err := os.Stat(r + path)
				if err != nil {
					return err
				}
				return os.Truncate(r+path, st.Size()/2)
			}, "changed " + path + field})
		}
	}
	return out
}

// try makes one change in a copy, and says what verify finds.
func try(path, tmp string, at *target, c change) ([]string, error) {
	disk, mnt := filepath.Join(tmp, "disk"), filepath.Join(tmp, "mnt")
	if err := errors.Join(tool("cp", "--sparse=always", path, disk), os.MkdirAll(mnt, 0o700), os.Chmod(disk, 0o600)); err != nil {
		return nil, err
	}
	if err := tool("mount", "-o", fmt.Sprintf("loop,offset=%d,sizelimit=%d", at.start, at.size), disk, mnt); err != nil {
		return nil, err
	}
	if err := errors.Join(c.do(mnt), tool("umount", mnt)); err != nil {
		return nil, err
	}
	n, err := analyzer.Open(context.Background(), disk, analyzer.Options{})
	if err != nil {
		return nil, err
	}
	defer n.Close()
	return findings(n, nil)
}

// findings lists what verify finds, and shows every verdict to see.
func findings(n *analyzer.Node, see func(analyzer.Verdict)) ([]string, error) {
	var out []string
	err := n.Verify(context.Background(), nil, func(v analyzer.Verdict) error {
		if see != nil {
			see(v)
		}
		if v.Finding() && v.Check != analyzer.CheckImage {
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s%s %s", v.Result, v.Object, v.Path, v.Field)))
		}
		return nil
	})
	return out, err
}

func tool(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// keepTime sets a file's times back after a change.
func keepTime(path string, do func() error) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err
	}
	return errors.Join(do(), unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW))
}

func flip(path string, at int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		return err
	}
	b[0] ^= 1
	_, err = f.WriteAt(b, at)
	return err
}

func grow(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString("evil")
	return err
}
