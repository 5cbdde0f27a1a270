package export

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"lagan/internal/durable"
)

// Media types of an OCI layout: image-spec media-types.md.
const (
	MediaTypeIndex     = "application/vnd.oci.image.index.v1+json"
	MediaTypeManifest  = "application/vnd.oci.image.manifest.v1+json"
	MediaTypeConfig    = "application/vnd.oci.image.config.v1+json"
	MediaTypeLayer     = "application/vnd.oci.image.layer.v1.tar"
	MediaTypeLayerGzip = MediaTypeLayer + "+gzip"
	MediaTypeLayerZstd = MediaTypeLayer + "+zstd"
)

const (
	layoutFile    = "oci-layout"
	layoutVersion = `{"imageLayoutVersion":"1.0.0"}`
	layoutIndex   = "index.json"
	layoutBlobs   = "blobs/sha256"
	// annotationName names an image in an index: image-spec annotations.md.
	annotationName = "org.opencontainers.image.ref.name"
)

// Descriptor names a blob of a layout: image-spec descriptor.md.
type Descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Layout is an OCI image layout that is being written: image-spec
// image-layout.md. Its blobs are written as streams, hashed meanwhile and named
// afterwards. The same blobs give the same layout.
type Layout struct {
	path, tmp string
	root      *os.Root
}

// NewLayout begins a layout in the folder at path, which must be empty or not be
// there. It appears whole or not at all: Finish or Discard has to be called.
func NewLayout(path string) (*Layout, error) {
	path = filepath.Clean(path)
	if err := isFree(path); err != nil {
		return nil, err
	}
	return newLayout(path, filepath.Dir(path), "."+filepath.Base(path)+".*")
}

// NewTempLayout begins a layout that is to become an archive, in dir or the
// system's temporary folder. Archive or Discard has to be called.
func NewTempLayout(dir string) (*Layout, error) { return newLayout("", dir, "lagan-*") }

func newLayout(path, dir, pattern string) (*Layout, error) {
	tmp, err := os.MkdirTemp(dir, pattern)
	if err != nil {
		return nil, err
	}
	l := &Layout{path: path, tmp: tmp}
	if l.root, err = os.OpenRoot(tmp); err == nil {
		err = errors.Join(l.root.Mkdir("blobs", 0o755), l.root.Mkdir(layoutBlobs, 0o755))
	}
	if err != nil {
		return nil, errors.Join(err, l.Discard())
	}
	return l, nil
}

// Blob keeps what write writes under its digest. keep, where set, is asked
// afterwards whether it is to be kept; the descriptor is the zero value where it isn't.
func (l *Layout) Blob(mediaType string, write func(io.Writer) error, keep func() bool) (Descriptor, error) {
	const name = layoutBlobs + "/unfinished" // in the folder that it stays in: a confined process may not move files between folders
	f, err := l.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return Descriptor{}, err
	}
	defer f.Close()
	h := sha256.New()
	counted := &counting{w: io.MultiWriter(f, h)}
	w := bufio.NewWriterSize(counted, 1<<20)
	if err := errors.Join(write(w), w.Flush(), f.Close()); err != nil {
		return Descriptor{}, err
	}
	if keep != nil && !keep() {
		return Descriptor{}, l.root.Remove(name)
	}
	sum := hex.EncodeToString(h.Sum(nil))
	if err := l.root.Rename(name, layoutBlobs+"/"+sum); err != nil {
		return Descriptor{}, err
	}
	return Descriptor{MediaType: mediaType, Digest: "sha256:" + sum, Size: counted.n}, nil
}

type counting struct {
	w io.Writer
	n int64
}

func (c *counting) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// JSON keeps a document under its digest.
func (l *Layout) JSON(mediaType string, v any) (Descriptor, error) {
	return l.Blob(mediaType, func(w io.Writer) error { return encode(w, v) }, nil)
}

func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

type imageManifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        Descriptor        `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type imageIndex struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []Descriptor `json:"manifests"`
}

// Image adds the manifest of the one image of the layout, and its index. name is
// what the image is called in it.
func (l *Layout) Image(name string, config Descriptor, layers []Descriptor, annotations map[string]string) error {
	m, err := l.JSON(MediaTypeManifest, imageManifest{2, MediaTypeManifest, config, layers, annotations})
	if err != nil {
		return err
	}
	if name != "" {
		m.Annotations = map[string]string{annotationName: name}
	}
	var index strings.Builder
	if err := encode(&index, imageIndex{2, MediaTypeIndex, []Descriptor{m}}); err != nil {
		return err
	}
	return errors.Join(l.file(layoutIndex, index.String()), l.file(layoutFile, layoutVersion))
}

func (l *Layout) file(name, content string) error {
	return l.root.WriteFile(name, []byte(content), 0o644)
}

// Finish gives the layout its name.
func (l *Layout) Finish() error {
	if err := l.root.Close(); err != nil {
		return errors.Join(err, l.Discard())
	}
	if err := os.Chmod(l.tmp, 0o755); err != nil {
		return errors.Join(err, l.Discard())
	}
	if err := durable.Folder(l.tmp, l.path); err != nil {
		return errors.Join(err, l.Discard())
	}
	return nil
}

// Archive writes the layout as a tar, as skopeo's and podman's oci-archive is
// one, and takes the folder away.
func (l *Layout) Archive(w io.Writer) (err error) {
	defer func() { err = errors.Join(err, l.Discard()) }()
	t := tar.NewWriter(w)
	for _, dir := range [...]string{"blobs", layoutBlobs} {
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, ModTime: time.Unix(0, 0)}); err != nil {
			return err
		}
	}
	list, err := fs.ReadDir(l.root.FS(), layoutBlobs)
	if err != nil {
		return err
	}
	names := []string{layoutIndex, layoutFile}
	for _, e := range list {
		names = append(names, layoutBlobs+"/"+e.Name())
	}
	slices.Sort(names)
	for _, name := range names {
		if err := l.archive(t, name); err != nil {
			return err
		}
	}
	return t.Close()
}

func (l *Layout) archive(t *tar.Writer, name string) error {
	f, err := l.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: st.Size(), ModTime: time.Unix(0, 0)}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}

// Discard takes away what was written and has no name yet.
func (l *Layout) Discard() error {
	var err error
	if l.root != nil {
		err = l.root.Close()
	}
	if rm := os.RemoveAll(l.tmp); rm != nil {
		return fmt.Errorf("taking away what was written: %w", rm)
	}
	return err
}
