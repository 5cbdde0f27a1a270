package export

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"lagan/evidence"
	"lagan/internal/text"
)

// timeFormat is RFC 3339 with nine decimals, for times in UTC.
const timeFormat = "2006-01-02T15:04:05.000000000Z"

// record is a line of the manifest: all that is known of one name of the tree,
// and what was made of it. Names that aren't UTF-8 are escaped, and whole,
// base64, in the field with _raw.
type record struct {
	Path    string            `json:"path"` // with a leading slash
	PathRaw []byte            `json:"path_raw,omitempty"`
	Type    string            `json:"type"` // evidence.Type's, or "whiteout"
	Mode    string            `json:"mode"` // octal, with setuid, setgid, sticky
	UID     uint32            `json:"uid"`
	GID     uint32            `json:"gid"`
	Size    int64             `json:"size"`
	Nlink   uint32            `json:"nlink"`
	Inode   uint64            `json:"inode"`
	Rdev    string            `json:"rdev,omitempty"` // major:minor
	Mtime   string            `json:"mtime,omitempty"`
	Atime   string            `json:"atime,omitempty"`
	Ctime   string            `json:"ctime,omitempty"`
	Btime   string            `json:"btime,omitempty"`
	Target  string            `json:"target,omitempty"`
	TgtRaw  []byte            `json:"target_raw,omitempty"`
	Xattrs  map[string]string `json:"xattrs,omitempty"` // base64
	SHA256  string            `json:"sha256,omitempty"` // of the file that was written
	// Lost is how many bytes of the written file are zeros because they can't be read.
	Lost int64 `json:"lost,omitempty"`
	// Written is where it was written, from the folder of the manifest; absent
	// for what is recorded here only.
	Written string `json:"written,omitempty"`
	WrtRaw  []byte `json:"written_raw,omitempty"`
	// Hardlink is the name under which the same inode was exported before.
	Hardlink string `json:"hardlink,omitempty"`
	HrdRaw   []byte `json:"hardlink_raw,omitempty"`
	Opaque   bool   `json:"opaque,omitempty"` // hides what the layers below have in its place
}

func newRecord(i item) *record {
	r := &record{
		Type: i.info.Type.String(), Mode: fmt.Sprintf("%04o", i.info.Perm), UID: i.info.UID, GID: i.info.GID,
		Size: i.info.Size, Nlink: i.info.Nlink, Inode: i.info.Inode, Opaque: i.opaque,
		Mtime: stamp(i.info.Mtime), Atime: stamp(i.info.Atime), Ctime: stamp(i.info.Ctime), Btime: stamp(i.info.Btime),
	}
	if i.whiteout {
		r.Type = "whiteout"
	}
	if i.info.Type == evidence.TypeChar || i.info.Type == evidence.TypeBlock {
		r.Rdev = fmt.Sprintf("%d:%d", i.info.Major, i.info.Minor)
	}
	r.Path, r.PathRaw = name("/" + i.path)
	return r
}

func name(s string) (string, []byte) {
	escaped, valid := text.ForJSON(s)
	if valid {
		return s, nil
	}
	return escaped, []byte(s)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(timeFormat)
}

func (r *record) attributes(x map[string][]byte) {
	if len(x) == 0 {
		return
	}
	r.Xattrs = make(map[string]string, len(x))
	for k, v := range x {
		s, _ := text.ForJSON(k)
		r.Xattrs[s] = base64.StdEncoding.EncodeToString(v)
	}
}

// manifest writes records, one a line.
type manifest struct {
	w *bufio.Writer
	e *json.Encoder
}

func newManifest(w io.Writer) *manifest {
	m := &manifest{w: bufio.NewWriterSize(w, 1<<16)}
	m.e = json.NewEncoder(text.JSON{W: m.w})
	m.e.SetEscapeHTML(false)
	return m
}

func (m *manifest) write(r *record) error { return m.e.Encode(r) }

// escaped makes a name that every host can hold of one that this host can't,
// or has already: letters, digits and ._- stay, each other byte is %XX, and the
// end is the name's hash, so that two names don't meet again. try is counted up
// where they do.
func escaped(name string, hash []byte, try int) string {
	var b strings.Builder
	for i := 0; i < len(name) && b.Len() < maxEscaped; i++ {
		if c := name[i]; c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._-", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	fmt.Fprintf(&b, "%%%x", hash[:6])
	if try > 0 {
		fmt.Fprintf(&b, "-%d", try)
	}
	return b.String()
}

// maxEscaped keeps escaped names below the 143 bytes of the narrowest host (eCryptfs).
const maxEscaped = 100
