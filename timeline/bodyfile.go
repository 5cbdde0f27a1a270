package timeline

import (
	"bytes"
	"unicode/utf8"

	"lagan/internal/text"
)

// bodyfile writes The Sleuth Kit's format 3.x, one line a file:
//
//	MD5|name|inode|mode_as_string|UID|GID|size|atime|mtime|ctime|crtime
//
// (wiki.sleuthkit.org, "Body file"). Times are whole seconds, 0 where unknown.
// As fls writes them, a link's name ends in " -> target", a deleted file's in
// " (deleted)", and the mode has the type in front ("r/rrw-r--r--"). A | or a
// backslash in a name, control bytes and bytes that are not UTF-8 are written
// as \xNN, so that a line is a line and a name can be had back.
type bodyfile struct {
	mode10   [10]byte // of modeOf and modePerm
	modeOf   FileType
	modePerm uint16
	haveMode bool

	fields [len(bodyFields)]field
	known  [len(bodyFields)]bool
}

// The fields that a line is made of, by their places in bodyfile.fields.
const (
	bodyMD5 = iota
	bodyName
	bodyTarget
	bodyAllocated
	bodyInode
	bodyMode
	bodyUID
	bodyGID
	bodySize
)

var bodyFields = [...]uint8{
	bodyMD5: uint8(FieldMD5Hash), bodyName: uint8(FieldFilename), bodyTarget: uint8(FieldSymbolicLinkTarget), bodyAllocated: uint8(FieldIsAllocated),
	bodyInode: uint8(FieldInode), bodyMode: uint8(FieldModeAsString), bodyUID: uint8(FieldOwnerIdentifier), bodyGID: uint8(FieldGroupIdentifier), bodySize: uint8(FieldFileSize),
}

// bodyPlaces has, for each field, one more than its place in bodyFields; 0: none.
var bodyPlaces = func() (places [numFields]uint8) {
	for i, id := range bodyFields {
		places[id] = uint8(i + 1)
	}
	return places
}()

// gather finds the line's fields, in one pass over the record and then, for
// those it lacks, among its common fields.
func (b *bodyfile) gather(r *Record) error {
	v := view{name: r.name, nameForm: r.nameForm, body: r.body}
	b.known = [len(bodyFields)]bool{}
	for at := 0; at < len(v.body); {
		f, next := v.field(at)
		if next < 0 {
			return errRecord("field")
		}
		if i := bodyPlaces[f.id]; i > 0 {
			b.fields[i-1], b.known[i-1] = f, true
		}
		at = next
	}
	for i, id := range bodyFields {
		if !b.known[i] && r.common != nil && r.common.pos[id] > 0 {
			b.fields[i], b.known[i] = r.common.field(id)
		}
	}
	if !b.known[bodyName] {
		b.fields[bodyName] = field{typ: typeString, form: r.nameForm, b: r.name}
	}
	return nil
}

// bodyPrefix is what stands before the names of a container's files, or of an image's.
func bodyPrefix(c *Common) string {
	get := func(f StringField) string {
		if v, ok := c.field(uint8(f)); ok {
			return string(v.appendText(nil))
		}
		return ""
	}
	name := get(FieldKubernetesContainerName)
	if name == "" {
		name = get(FieldContainerName)
	}
	if id := get(FieldContainerID); name == "" {
		name = id[:min(len(id), 12)]
	}
	pod, image := get(FieldKubernetesPodName), get(FieldImageName)
	switch {
	case pod != "":
		return "[" + pod + "/" + name + "]"
	case name != "":
		return "[" + name + "]"
	case image != "" && get(FieldLayerDigest) != "":
		return "[image " + image + "]"
	}
	return ""
}

// record appends the line of a file's record; a record of something else gives none.
func (b *bodyfile) record(dst []byte, r *Record) ([]byte, error) {
	if r.kind != FSStat && r.kind != RecoveredFile {
		return dst, nil
	}
	if r.hasStat && r.hasPath && !r.mask.intersects(&bodyOwn) && (r.common == nil || !r.common.mask.intersects(&bodyOwn)) {
		dst = b.plain(dst, r)
	} else {
		if err := b.gather(r); err != nil {
			return dst, err
		}
		dst = b.gathered(dst, r)
	}
	return appendBodyTimes(dst, r.stamps), nil
}

// bodyOwn are the fields that a line has of some files only.
var bodyOwn = func() (s fieldSet) {
	s.add(uint8(FieldMD5Hash))
	s.add(uint8(FieldSymbolicLinkTarget))
	return s
}()

// plain appends the line of a record that says no more than Stat and
// PathBytes, up to its times: what gathered would.
func (b *bodyfile) plain(dst []byte, r *Record) []byte {
	dst = append(dst, "0|"...)
	if r.common != nil && r.common.bodyPrefix != "" {
		dst = appendBodyText(dst, r.common.bodyPrefix)
	}
	dst = appendBodyField(dst, field{form: formPlain, b: r.name[r.filename:]})
	s := &r.stat
	if !s.Allocated {
		dst = append(dst, deletedMark...)
	}
	dst = appendInt(append(dst, '|'), int64(s.Inode))
	if !b.haveMode || b.modeOf != s.Type || b.modePerm != s.Perm {
		appendMode(b.mode10[:0], s.Type, s.Perm)
		b.modeOf, b.modePerm, b.haveMode = s.Type, s.Perm, true
	}
	dst = appendBodyMode(append(dst, '|'), b.mode10[:])
	dst = appendInt(append(dst, '|'), int64(s.UID))
	dst = appendInt(append(dst, '|'), int64(s.GID))
	return appendInt(append(dst, '|'), s.Size)
}

// gathered appends the line of what gather found, up to its times.
func (b *bodyfile) gathered(dst []byte, r *Record) []byte {
	dst = b.text(dst, bodyMD5)
	dst = append(dst, '|')
	dst = b.name(dst, r)
	dst = append(dst, '|')
	dst = b.text(dst, bodyInode)
	dst = append(dst, '|')
	dst = b.mode(dst)
	for _, i := range [...]int{bodyUID, bodyGID, bodySize} {
		n := int64(0)
		if b.known[i] {
			n = b.fields[i].num
		}
		dst = appendInt(append(dst, '|'), n)
	}
	return dst
}

// appendBodyTimes ends a line.
func appendBodyTimes(dst []byte, stamps []stamp) []byte {
	var times [4]int64
	for _, s := range stamps {
		if s.desc <= Created {
			times[s.desc] = s.sec
		} else if s.desc == ContentDeleted && times[MetadataChanged] == 0 {
			times[MetadataChanged] = s.sec // a whiteout's ctime
		}
	}
	from, to, last := 0, 0, int64(0) // where the time before stands: often it is the same
	for _, d := range [...]Desc{Accessed, Modified, MetadataChanged, Created} {
		dst = append(dst, '|')
		if t := times[d]; to > 0 && t == last {
			dst = append(dst, dst[from:to]...)
		} else {
			from, last = len(dst), t
			dst = appendInt(dst, t)
			to = len(dst)
		}
	}
	return append(dst, '\n')
}

func (b *bodyfile) text(dst []byte, i int) []byte {
	if b.known[i] {
		return b.fields[i].appendText(dst)
	}
	return append(dst, '0')
}

// name appends the path in the container or on the node, escaped.
func (b *bodyfile) name(dst []byte, r *Record) []byte {
	if r.common != nil && r.common.bodyPrefix != "" {
		dst = appendBodyText(dst, r.common.bodyPrefix)
	}
	if r.rawFilename != "" {
		dst = appendBodyText(dst, r.rawFilename)
	} else {
		dst = appendBodyField(dst, b.fields[bodyName])
	}
	if r.rawTarget != "" {
		dst = appendBodyText(append(dst, " -> "...), r.rawTarget)
	} else if b.known[bodyTarget] {
		dst = appendBodyField(append(dst, " -> "...), b.fields[bodyTarget])
	}
	if b.known[bodyAllocated] && b.fields[bodyAllocated].num == 0 {
		dst = append(dst, deletedMark...)
	}
	return dst
}

// mode appends the mode as The Sleuth Kit prints it: type of the name, type and permissions of the inode.
func (b *bodyfile) mode(dst []byte) []byte {
	mode := &b.fields[bodyMode]
	if !b.known[bodyMode] || len(mode.b) != 10 {
		return append(dst, "-/----------"...)
	}
	return appendBodyMode(dst, mode.b)
}

// deletedMark ends the name of a file that is gone, as fls writes it.
const deletedMark = " (deleted)"

// appendBodyMode appends ten characters of a mode with the type in front.
func appendBodyMode(dst, mode []byte) []byte {
	letter := mode[0]
	if letter == '-' {
		letter = 'r'
	}
	dst = append(dst, letter, '/', letter)
	return append(dst, mode[1:]...)
}

func appendBodyField(dst []byte, f field) []byte {
	if f.form == formPlain && bytes.IndexByte(f.b, '|') < 0 {
		return append(dst, f.b...)
	}
	return appendBodyText(dst, string(f.b))
}

// appendBodyText appends text or raw bytes with all escaped that would break
// the line or, when it is shown, the terminal.
func appendBodyText(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '|', r == '\\', r == utf8.RuneError && n == 1, !text.Printable(r):
			for _, c := range []byte(s[i : i+n]) {
				dst = append(dst, '\\', 'x', hex[c>>4], hex[c&15])
			}
		default:
			dst = append(dst, s[i:i+n]...)
		}
		i += n
	}
	return dst
}
