package timeline

import (
	"bytes"
	"strconv"
	"unicode"
	"unicode/utf8"
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
	v view
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
	v := &b.v
	*v = view{name: r.name, nameForm: r.nameForm, ownName: len(r.name) > 0, body: r.body, common: r.common, kind: r.kind}
	if err := v.index(); err != nil {
		return dst, err
	}
	dst = b.text(dst, FieldMD5Hash, "0")
	dst = append(dst, '|')
	dst = b.name(dst, r)
	dst = append(dst, '|')
	dst = b.text(dst, FieldInode, "0")
	dst = append(dst, '|')
	dst = b.mode(dst)
	for _, f := range [...]IntField{FieldOwnerIdentifier, FieldGroupIdentifier, FieldFileSize} {
		dst = append(dst, '|')
		n, _ := v.find(uint8(f))
		dst = appendInt(dst, n.num)
	}
	var times [4]int64
	for _, s := range r.stamps {
		if s.desc <= Created {
			times[s.desc] = s.sec
		} else if s.desc == ContentDeleted && times[MetadataChanged] == 0 {
			times[MetadataChanged] = s.sec // a whiteout's ctime
		}
	}
	for _, d := range [...]Desc{Accessed, Modified, MetadataChanged, Created} {
		dst = strconv.AppendInt(append(dst, '|'), times[d], 10)
	}
	return append(dst, '\n'), nil
}

func (b *bodyfile) text(dst []byte, f StringField, unknown string) []byte {
	if v, ok := b.v.find(uint8(f)); ok {
		return v.appendText(dst)
	}
	return append(dst, unknown...)
}

// name appends the path in the container or on the node, escaped.
func (b *bodyfile) name(dst []byte, r *Record) []byte {
	if r.common != nil && r.common.bodyPrefix != "" {
		dst = appendBodyText(dst, r.common.bodyPrefix)
	}
	if r.rawFilename != "" {
		dst = appendBodyText(dst, r.rawFilename)
	} else {
		f, ok := b.v.find(uint8(FieldFilename))
		if !ok {
			f, _ = b.v.find(uint8(FieldDisplayName))
		}
		dst = appendBodyField(dst, f)
	}
	if r.rawTarget != "" {
		dst = appendBodyText(append(dst, " -> "...), r.rawTarget)
	} else if f, ok := b.v.find(uint8(FieldSymbolicLinkTarget)); ok {
		dst = appendBodyField(append(dst, " -> "...), f)
	}
	if f, ok := b.v.find(uint8(FieldIsAllocated)); ok && f.num == 0 {
		dst = append(dst, " (deleted)"...)
	}
	return dst
}

// mode appends the mode as The Sleuth Kit prints it: type of the name, type and permissions of the inode.
func (b *bodyfile) mode(dst []byte) []byte {
	mode, ok := b.v.find(uint8(FieldModeAsString))
	if !ok || len(mode.b) != 10 {
		return append(dst, "-/----------"...)
	}
	letter := mode.b[0]
	if letter == '-' {
		letter = 'r'
	}
	dst = append(dst, letter, '/', letter)
	return append(dst, mode.b[1:]...)
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
		case r == '|', r == '\\', r == utf8.RuneError && n == 1, !unicode.IsPrint(r):
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
