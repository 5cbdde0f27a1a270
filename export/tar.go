package export

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"lagan/evidence"
)

const (
	// How a layer's tar marks what it deletes: image-spec layer.md, "Whiteouts".
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
	// whiteoutMode is what moby gives the marks (pkg/archive, overlayWhiteoutConverter.ConvertWrite).
	whiteoutMode = 0o600

	paxXattr = "SCHILY.xattr."
	// maxPAX bounds an extended header: archive/tar reads and writes up to 1 MiB (maxSpecialFileSize).
	maxPAX = 1<<20 - 4096
)

// copyBuffer is how much of a file is read at once.
const copyBuffer = 1 << 20

// Tar writes the source as a tar: names without a leading slash, the root
// itself left out, directories before their content and names in byte order,
// as `docker export` writes it. Times have nanoseconds; owners' names, access and
// change times are left out. Of the extended attributes those are written that
// runtimes write: see exported. Sockets have no place in a tar.
//
// The same source gives the same bytes. An error is one of w, of ctx, or says
// that the source can't be begun with; all else is told to o.Guard.
func Tar(ctx context.Context, w io.Writer, s Source, o Options) error {
	out := &failing{w: w}
	t := &tarWriter{ctx: ctx, s: s, o: &o, out: out, w: tar.NewWriter(out), buf: make([]byte, copyBuffer)}
	if err := walk(ctx, s, &o, t.item); err != nil {
		return err
	}
	return t.w.Close()
}

// failing keeps the error of its writer: archive/tar's own errors are about
// one header, after which it goes on.
type failing struct {
	w   io.Writer
	err error
}

func (f *failing) Write(b []byte) (int, error) {
	n, err := f.w.Write(b)
	if err != nil {
		f.err = err
	}
	return n, err
}

type tarWriter struct {
	ctx     context.Context
	s       Source
	o       *Options
	out     *failing
	w       *tar.Writer
	links   links
	buf     []byte
	entries int64
}

var tarTypes = map[evidence.Type]byte{
	evidence.TypeFile: tar.TypeReg, evidence.TypeDir: tar.TypeDir, evidence.TypeSymlink: tar.TypeSymlink,
	evidence.TypeChar: tar.TypeChar, evidence.TypeBlock: tar.TypeBlock, evidence.TypeFIFO: tar.TypeFifo,
}

// typeBits stand in the modes of the runtimes' tars, though no reader needs them:
// fillGo18FileTypeBits of moby's pkg/archive and of containers/storage.
var typeBits = map[evidence.Type]int64{
	evidence.TypeFile: 0o100000, evidence.TypeDir: 0o040000, evidence.TypeSymlink: 0o120000,
	evidence.TypeChar: 0o020000, evidence.TypeBlock: 0o060000, evidence.TypeFIFO: 0o010000,
}

func (t *tarWriter) item(i item) error {
	if i.path == "" {
		return nil
	}
	if t.o.Owner != nil {
		i.info.UID, i.info.GID = t.o.Owner(i.info.UID, i.info.GID)
	}
	if i.whiteout {
		dir, name := path.Split(i.path)
		return t.mark(dir+whiteoutPrefix+name, i.info, whiteoutMode)
	}
	if i.info.Type == evidence.TypeSocket {
		if t.o.Left != nil {
			t.o.Left("/"+i.path, i.info)
		}
		return nil
	}
	h := t.header(i)
	if h == nil {
		return nil
	}
	var c *content
	if h.Typeflag == tar.TypeReg {
		c = t.o.open(t.ctx, t.s.FS, i)
		h.Size = c.size
	}
	if ok, err := t.write(h); !ok {
		return err
	}
	if c != nil {
		defer c.end()
		if _, err := io.CopyBuffer(onlyWriter{t.w}, c, t.buf); err != nil {
			return err
		}
	}
	if i.opaque {
		return t.mark(i.path+"/"+whiteoutOpaque, i.info, int64(i.info.Perm&0o777))
	}
	return nil
}

// onlyWriter hides ReadFrom, so that CopyBuffer uses the buffer it is given.
type onlyWriter struct{ io.Writer }

// write writes a header; false says that there is no entry to be filled.
func (t *tarWriter) write(h *tar.Header) (bool, error) {
	err := t.w.WriteHeader(h)
	if err == nil {
		if t.entries++; t.o.Progress != nil {
			t.o.Progress(t.entries)
		}
		return true, nil
	}
	if t.out.err != nil {
		return false, t.out.err
	}
	if err := t.w.Flush(); err != nil {
		return false, err // an error that archive/tar doesn't go on after
	}
	t.o.gap("/"+strings.TrimSuffix(h.Name, "/"), fmt.Errorf("no place in a tar: %w", err))
	return false, nil
}

func (t *tarWriter) mark(name string, info evidence.Info, mode int64) error {
	_, err := t.write(&tar.Header{
		Format: tar.FormatPAX, Typeflag: tar.TypeReg, Name: name, Mode: mode,
		Uid: int(info.UID), Gid: int(info.GID), ModTime: info.Mtime,
	})
	return err
}

// header returns the header of an inode; nil for one that has no place, which
// was reported.
func (t *tarWriter) header(i item) *tar.Header {
	typ, ok := tarTypes[i.info.Type]
	if !ok {
		t.o.gap("/"+i.path, fmt.Errorf("inode of no known type: %w", evidence.ErrUnsupported))
		return nil
	}
	h := &tar.Header{
		Format: tar.FormatPAX, Typeflag: typ, Name: i.path, Mode: int64(i.info.Perm) | typeBits[i.info.Type],
		Uid: int(i.info.UID), Gid: int(i.info.GID), ModTime: i.info.Mtime,
	}
	switch i.info.Type {
	case evidence.TypeDir:
		h.Name += "/"
	case evidence.TypeChar, evidence.TypeBlock:
		h.Devmajor, h.Devminor = int64(i.info.Major), int64(i.info.Minor)
	case evidence.TypeSymlink:
		h.Linkname = t.o.target(t.s.FS, i)
	}
	if first := t.links.of(i, t.o); first != "" {
		h.Typeflag, h.Linkname = tar.TypeLink, first
		h.Devmajor, h.Devminor = 0, 0
	}
	if len(h.Name)+len(h.Linkname) > maxPAX {
		t.o.gap("/"+i.path, fmt.Errorf("name of %d bytes has no place in a tar: %w", len(h.Name), evidence.ErrUnsupported))
		return nil
	}
	t.attributes(h, i)
	return h
}

// target reads a symbolic link's target. The kernel ends it at a NUL.
func (o *Options) target(fsys evidence.FS, i item) (target string) {
	o.Guard("/"+i.path, func() (err error) {
		if target, err = fsys.ReadLink(i.ino); err != nil {
			return fmt.Errorf("reading link: %w", err)
		}
		var cut bool
		if target, _, cut = strings.Cut(target, "\x00"); cut {
			return fmt.Errorf("link target with a NUL is cut there: %w", evidence.ErrCorrupt)
		}
		return nil
	})
	return target
}

func (t *tarWriter) attributes(h *tar.Header, i item) {
	size := len(h.Name) + len(h.Linkname)
	for name, value := range t.o.attributes(t.s.FS, i) {
		if !exported(name) || t.o.NoUserXattrs && name != capability {
			continue
		}
		if strings.ContainsAny(name, "=\x00") {
			t.o.gap("/"+i.path, fmt.Errorf("attribute %q has no place in a tar: %w", name, evidence.ErrUnsupported))
			continue
		}
		if h.PAXRecords == nil {
			h.PAXRecords = make(map[string]string)
		}
		h.PAXRecords[paxXattr+name] = string(value)
		size += len(name) + len(value) + len(paxXattr) + 16
	}
	if size > maxPAX {
		h.PAXRecords = nil
		t.o.gap("/"+i.path, fmt.Errorf("left out: %w", errTooManyAttributes))
	}
}

var errTooManyAttributes = errors.New("attributes of more than a mebibyte have no place in a tar")

// capability is the one attribute that every runtime writes into tars.
const capability = "security.capability"

// exported says whether a runtime writes an extended attribute into a tar.
// moby writes file capabilities; containers/storage (pkg/archive,
// readSecurityXattrToTarHeader and readUserXattrToTarHeader) also what IMA signs and
// the user's own, without those by which it and overlayfs keep books.
func exported(name string) bool {
	switch {
	case name == capability, name == "security.ima":
		return true
	case strings.HasPrefix(name, "user.overlay."), strings.HasPrefix(name, "user.containers."):
		return false
	}
	return strings.HasPrefix(name, "user.")
}
