package checkpoint

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"lagan/evidence"
)

// Bounds on an archive. A checkpoint of a container with ten thousand
// processes has some fifty thousand images.
const (
	maxMembers = 500_000
	maxMember  = 256 << 20 // of what is kept
	maxKept    = 1 << 30
	maxChanged = 1_000_000
	maxHeads   = 128 << 20 // of all changed files; there are no heads of those after that
)

// archive is what is kept of a tar: its documents and images, by name.
type archive struct {
	c     *Checkpoint
	files map[string][]byte
	kept  int64
	pages map[string]int64 // sizes of the files of pages

	descriptorCount int
}

// Read reads an archive. evidence.ErrFormat says that it is none.
func Read(open Source) (*Checkpoint, error) {
	a := &archive{c: &Checkpoint{}, files: make(map[string][]byte), pages: make(map[string]int64)}
	r, done, err := open()
	if err != nil {
		return nil, err
	}
	err = a.read(r)
	done()
	if err != nil && (len(a.files) == 0 || errors.Is(err, evidence.ErrFormat)) {
		return nil, err
	}
	if err != nil {
		a.problem("archive", err)
	}
	if a.files["config.dump"] == nil && a.files["checkpoint/pstree.img"] == nil && a.files["spec.dump"] == nil {
		return nil, fmt.Errorf("it holds neither config.dump nor checkpoint/pstree.img: %w", evidence.ErrFormat)
	}
	a.documents()
	a.processes()
	if err := a.memory(open); err != nil {
		a.problem("memory pages", err)
	}
	return a.c, nil
}

func (a *archive) problem(what string, err error) {
	const most = 200
	if len(a.c.Problems) < most {
		a.c.Problems = append(a.c.Problems, fmt.Errorf("%s: %w", what, err))
	}
}

// clean is a member's name without ./ before it; "" for one that leaves the archive.
func clean(name string) string {
	name = path.Clean(strings.TrimPrefix(name, "./"))
	if strings.HasPrefix(name, "/") || strings.HasPrefix(name, "..") {
		return ""
	}
	return name
}

func (a *archive) read(r io.Reader) error {
	t := tar.NewReader(r)
	for n := 0; ; n++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			if n == 0 {
				return fmt.Errorf("%w: %w", err, evidence.ErrFormat)
			}
			return err
		}
		if n > maxMembers {
			return fmt.Errorf("more than %d members: %w", maxMembers, evidence.ErrUnsupported)
		}
		if name := clean(h.Name); h.Typeflag == tar.TypeReg && name != "" {
			if err := a.member(name, h, t); err != nil {
				return err
			}
		}
	}
}

func (a *archive) member(name string, h *tar.Header, r io.Reader) error {
	if rest, ok := strings.CutPrefix(name, "checkpoint/"); ok {
		a.c.Size += h.Size
		if strings.HasPrefix(rest, "pages-") || strings.HasPrefix(rest, "amdgpu-pages-") {
			if strings.HasPrefix(rest, "pages-") {
				a.c.PagesSize += h.Size
			}
			a.pages[name] = h.Size
			return nil // read when it is known what is wanted of it
		}
	}
	switch {
	case name == "rootfs-diff.tar":
		a.c.DiffSize = h.Size
		if err := a.diff(r); err != nil {
			a.problem(name, err)
		}
		return nil
	case strings.HasPrefix(name, "checkpoint/"):
		if !strings.HasSuffix(name, ".img") || strings.HasPrefix(name, "checkpoint/ghost-file-") || strings.HasPrefix(name, "checkpoint/tmpfs-") {
			return nil
		}
	case strings.HasPrefix(name, "volumes/"), strings.HasSuffix(name, ".tar"), strings.HasSuffix(name, ".log"):
		return nil
	}
	if h.Size > maxMember || a.kept+h.Size > maxKept {
		a.problem(name, fmt.Errorf("its %d bytes are too many: %w", h.Size, evidence.ErrUnsupported))
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(r, maxMember))
	if err != nil {
		return err
	}
	a.kept += int64(len(b))
	a.files[name] = b
	return nil
}

// diff lists what the container changed: a tar in the tar.
func (a *archive) diff(r io.Reader) error {
	t := tar.NewReader(r)
	heads := int64(0)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(a.c.Changed) >= maxChanged {
			return fmt.Errorf("more than %d changed files: %w", maxChanged, evidence.ErrUnsupported)
		}
		name := path.Clean("/" + h.Name)
		if name == "/" {
			continue
		}
		c := Changed{Path: name, Type: h.Typeflag, Mode: h.Mode, UID: h.Uid, GID: h.Gid, Size: h.Size, Mtime: h.ModTime.UTC(), Target: h.Linkname}
		if base := path.Base(name); strings.HasPrefix(base, ".wh.") && base != ".wh..wh..opq" {
			c.Path, c.Deleted = path.Join(path.Dir(name), base[len(".wh."):]), true
		}
		c.Major, c.Minor = uint32(h.Devmajor), uint32(h.Devminor)
		c.Xattrs = xattrs(h)
		if h.Typeflag == tar.TypeReg && !c.Deleted && heads < maxHeads {
			if c.Head, err = io.ReadAll(io.LimitReader(t, min(MaxHead, maxHeads-heads))); err != nil {
				return err
			}
			heads += int64(len(c.Head))
		}
		a.c.Changed = append(a.c.Changed, c)
	}
}

// xattrs returns the extended attributes of a member, as GNU tar and Go write them.
func xattrs(h *tar.Header) map[string][]byte {
	var out map[string][]byte
	for k, v := range h.PAXRecords {
		if name, ok := strings.CutPrefix(k, "SCHILY.xattr."); ok {
			if out == nil {
				out = make(map[string][]byte)
			}
			out[name] = []byte(v)
		}
	}
	return out
}

func first(s ...string) string {
	for _, x := range s {
		if x != "" {
			return x
		}
	}
	return ""
}
