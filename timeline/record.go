package timeline

import (
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"lagan/internal/text"
)

// maxText is the most bytes of one text value: Lucene, under Timesketch's
// index, refuses terms of more than 32,766 bytes, and the line with them.
const maxText = 32000

// maxStamps bounds the times of one record. A file has four.
const maxStamps = 16

// How a text value is kept, in the low two bits of its length.
const (
	formPlain  = 0 // ASCII that needs no escape in JSON
	formText   = 1 // UTF-8
	formSuffix = 2 // what display_name has from this offset on
	formNumber = 3 // a number in decimal, in the place of the length
)

// Record builds what one line says, apart from its time: fields in a compact
// binary form, without an allocation a field. A Record is reused: Reset begins
// the next one, and Add copies what it keeps. Its zero value is ready for Reset.
//
// A field that was set keeps its first value. Empty text is left out. Text that
// is not UTF-8 has its bad bytes written as \xNN; text over 32,000 bytes is
// cut, and the record says truncated.
type Record struct {
	kind     DataType
	common   *Common
	template *Template
	mask     fieldSet
	name     []byte // display_name
	nameForm byte
	offset   uint64 // FieldOffset + 1; 0: none
	body     []byte
	stamps   []stamp
	// What filename and symbolic_link_target were, where they are not UTF-8.
	rawFilename, rawTarget string
	// What Stat was given, and where filename begins in name if PathBytes set it,
	// so that a bodyfile's line needn't decode body.
	stat     FileStat
	hasStat  bool
	hasPath  bool
	filename int
	mode     []byte // of modeOf and modePerm, as they look in body
	modeOf   FileType
	modePerm uint16
}

type stamp struct {
	sec  int64
	nsec uint32
	desc Desc
}

// Reset begins a record of a kind. common, if not nil, has the fields that it
// shares with others; a field of its own goes before one of common.
func (r *Record) Reset(kind DataType, common *Common) {
	r.kind, r.common, r.template = kind, common, nil
	r.mask = fieldSet{}
	r.name, r.nameForm, r.offset = r.name[:0], formPlain, 0
	r.body, r.stamps = r.body[:0], r.stamps[:0]
	r.rawFilename, r.rawTarget = "", ""
	r.hasStat, r.hasPath = false, false
}

// mark notes that a field is set, and says whether it was not.
func (r *Record) mark(id uint8) bool {
	if r.mask.has(id) {
		return false
	}
	r.mask.add(id)
	return true
}

// String sets a text field.
func (r *Record) String(f StringField, s string) {
	if s == "" {
		return
	}
	switch f {
	case FieldDisplayName:
		r.setName(s)
		return
	case FieldSHA256Hash:
		s = strings.TrimPrefix(s, "sha256:")
	case FieldFilename:
		r.setFilename(s)
		return
	}
	if r.mark(uint8(f)) {
		r.text(uint8(f), s)
		if f == FieldSymbolicLinkTarget && !utf8.ValidString(s) {
			r.rawTarget = s
		}
	}
}

// Bytes sets a text field.
func (r *Record) Bytes(f StringField, b []byte) {
	switch f {
	case FieldDisplayName, FieldSHA256Hash, FieldFilename, FieldSymbolicLinkTarget:
		r.String(f, string(b))
		return
	}
	if len(b) == 0 || !r.mark(uint8(f)) {
		return
	}
	start := len(r.body)
	r.body = binary.AppendUvarint(append(r.body, byte(f)), uint64(len(b))<<2)
	at := len(r.body)
	r.body = append(r.body, b...)
	if !r.judge(start, at) {
		r.text(uint8(f), string(b))
	}
}

// text appends a text field.
func (r *Record) text(id uint8, s string) {
	start := len(r.body)
	r.body = binary.AppendUvarint(append(r.body, id), uint64(len(s))<<2)
	at := len(r.body)
	r.body = append(r.body, s...)
	if !r.judge(start, at) {
		r.text(id, r.presentable(s))
	}
}

// judge decides the form of the text field that was appended at start, with
// its bytes from at on. A text that must be changed first is taken away again.
func (r *Record) judge(start, at int) bool {
	b := r.body[at:]
	switch {
	case len(b) > maxText:
	case plain(b):
		return true
	case utf8.Valid(b):
		r.body[start+1] |= formText // the low bits of a uvarint are in its first byte
		return true
	}
	r.body = r.body[:start]
	return false
}

// presentable returns s as UTF-8 of at most maxText bytes.
func (r *Record) presentable(s string) string {
	s, _ = text.ForJSON(s)
	if len(s) > maxText {
		s = s[:cut(s, maxText)]
		r.Bool(FieldTruncated, true)
	}
	return s
}

// cut returns the largest length of at most n at which no rune is cut in two.
func cut[T string | []byte](s T, n int) int {
	for n > 0 && n < len(s) && !utf8.RuneStart(s[n]) {
		n--
	}
	return n
}

func (r *Record) setName(s string) {
	if !r.mark(uint8(FieldDisplayName)) {
		return
	}
	r.name = append(r.name, s...)
	r.judgeName(s)
}

func (r *Record) judgeName(s string) {
	switch {
	case len(r.name) <= maxText && plain(r.name):
		return
	case len(r.name) > maxText || !utf8.Valid(r.name):
		r.name = append(r.name[:0], r.presentable(s)...)
	}
	r.nameForm = formText
}

// setFilename sets filename, as a part of display_name if it ends that, and
// the bytes themselves where they are not UTF-8.
func (r *Record) setFilename(s string) {
	if !r.mark(uint8(FieldFilename)) {
		return
	}
	if n := len(r.name) - len(s); n >= 0 && string(r.name[n:]) == s {
		r.body = binary.AppendUvarint(append(r.body, byte(FieldFilename)), uint64(n)<<2|formSuffix)
		return
	}
	r.text(uint8(FieldFilename), s)
	if !utf8.ValidString(s) && r.mark(uint8(FieldFilenameRaw)) {
		r.rawFilename = s
		if most := maxText / 4 * 3; len(s) > most {
			s = s[:most]
		}
		r.text(uint8(FieldFilenameRaw), base64.StdEncoding.EncodeToString([]byte(s)))
	}
}

// Path sets display_name to prefix and path, and filename to path.
func (r *Record) Path(prefix, path string) {
	if prefix != "" || path != "" {
		if r.mark(uint8(FieldDisplayName)) {
			r.name = append(append(r.name, prefix...), path...)
			if len(r.name) > maxText || !plain(r.name) {
				r.judgeName(prefix + path)
			}
		}
		if path != "" {
			r.setFilename(path)
		}
	}
}

// PathBytes is Path for a path in a buffer of the caller's.
func (r *Record) PathBytes(prefix string, path []byte) {
	if len(path) == 0 || len(prefix)+len(path) > maxText || r.mask.has(uint8(FieldDisplayName)) || r.mask.has(uint8(FieldFilename)) ||
		!plain(path) || !plain([]byte(prefix)) {
		r.Path(prefix, string(path))
		return
	}
	r.mask.add(uint8(FieldDisplayName))
	r.mask.add(uint8(FieldFilename))
	r.name = append(append(r.name[:0], prefix...), path...)
	r.body = binary.AppendUvarint(append(r.body, byte(FieldFilename)), uint64(len(prefix))<<2|formSuffix)
	r.hasPath, r.filename = true, len(prefix)
}

// Uint sets a text field to a number in decimal, as inode and port are given.
func (r *Record) Uint(f StringField, n uint64) {
	switch {
	case f == FieldDisplayName || f == FieldFilename || n >= 1<<62:
		r.String(f, strconv.FormatUint(n, 10))
	case r.mark(uint8(f)):
		r.body = binary.AppendUvarint(append(r.body, byte(f)), n<<2|formNumber)
	}
}

// Int sets a number field.
func (r *Record) Int(f IntField, n int64) {
	if !r.mark(uint8(f)) {
		return
	}
	if f == FieldOffset && n >= 0 {
		r.offset = uint64(n) + 1
		return
	}
	r.body = binary.AppendVarint(append(r.body, byte(f)), n)
}

// Bool sets a boolean field.
func (r *Record) Bool(f BoolField, v bool) {
	if !r.mark(uint8(f)) {
		return
	}
	b := byte(0)
	if v {
		b = 1
	}
	r.body = append(r.body, byte(f), b)
}

// Strings sets a list field. An empty list is left out; of a tag, every
// character but [A-Za-z0-9_] becomes an underscore.
func (r *Record) Strings(f ListField, values []string) {
	if len(values) == 0 || !r.mark(uint8(f)) {
		return
	}
	kept, size := make([]string, 0, len(values)), 0
	for _, v := range values {
		v = r.presentable(v)
		if f == FieldTag {
			v = tag(v)
		}
		if v == "" {
			continue
		}
		if size += len(v); size > maxText {
			r.Bool(FieldTruncated, true)
			break
		}
		kept = append(kept, v)
	}
	r.body = binary.AppendUvarint(append(r.body, byte(f)), uint64(len(kept)))
	for _, v := range kept {
		form := uint64(formPlain)
		if !plain([]byte(v)) {
			form = formText
		}
		r.body = append(binary.AppendUvarint(r.body, uint64(len(v))<<2|form), v...)
	}
}

func tag(s string) string {
	return strings.Map(func(c rune) rune {
		if c == '_' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' {
			return c
		}
		return '_'
	}, s)
}

// File sets file_entry_type, mode and mode_as_string. perm has the permission
// bits with setuid 04000, setgid 02000, sticky 01000.
func (r *Record) File(t FileType, perm uint16) {
	if int(t) >= len(fileTypes) {
		t = UnknownFile
	}
	r.String(FieldFileEntryType, fileTypes[t].name)
	r.Int(FieldMode, int64(perm&0o7777))
	if r.mark(uint8(FieldModeAsString)) {
		r.body = append(r.body, byte(FieldModeAsString), 10<<2|formPlain)
		r.body = appendMode(r.body, t, perm)
	}
}

// Message sets the line's text. A record without one shows its display_name.
func (r *Record) Message(s string) { r.String(FieldMessage, s) }

// Template makes the line's text from the record's fields, when it is written.
// A text that was set by Message goes before it.
func (r *Record) Template(t *Template) { r.template = t }

// Time says what happened at t. The zero time is unknown and adds nothing; a
// record that has no time at all is added as "Not a time" at 1970-01-01.
//
// ISO 8601 has four digits for a year: a time outside the years 1 to 9999 is
// put at the nearest that fits, and time_assumption says what it was.
func (r *Record) Time(desc Desc, t time.Time) {
	if !t.IsZero() {
		r.Unix(desc, t.Unix(), uint32(t.Nanosecond()))
	}
}

// Unix is Time for a time in seconds and nanoseconds since 1970. It is never unknown.
func (r *Record) Unix(desc Desc, sec int64, nsec uint32) {
	if len(r.stamps) >= maxStamps || desc >= numDescs || nsec >= 1e9 {
		return
	}
	s := stamp{sec, nsec, desc}
	for _, have := range r.stamps {
		if have == s {
			return
		}
	}
	if clamped := s.clamp(); clamped {
		r.String(FieldTimeAssumption, desc.String()+" is "+strconv.FormatInt(sec, 10)+
			" seconds from 1970, outside the years 1 to 9999: shown at the nearest")
	}
	r.stamps = append(r.stamps, s)
}

// keepTimes leaves out the times before since and from until on, and says
// whether any is left. A record without a time is kept.
func (r *Record) keepTimes(since, until time.Time) bool {
	kept := r.stamps[:0]
	for _, s := range r.stamps {
		t := time.Unix(s.sec, int64(s.nsec))
		if s.desc == NotATime || (since.IsZero() || !t.Before(since)) && (until.IsZero() || t.Before(until)) {
			kept = append(kept, s)
		}
	}
	all := len(r.stamps)
	r.stamps = kept
	return len(kept) > 0 || all == 0
}

// Gap makes the record that says what could not be read: object names it (a
// path, a container, a volume), reason says why.
func (r *Record) Gap(common *Common, object, reason string) {
	r.Reset(Warning, common)
	r.String(FieldRecord, "warning")
	r.String(FieldDisplayName, object)
	r.String(FieldObject, object)
	r.String(FieldReason, reason)
	if object != "" {
		reason = object + ": " + reason
	}
	r.Message(reason)
	r.Unix(NotATime, 0, 0)
}

// plain says whether all bytes are printable ASCII that JSON doesn't escape.
func plain(b []byte) bool {
	const (
		low  = 0x0101010101010101
		high = 0x8080808080808080
	)
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		quote, backslash, del := x^low*'"', x^low*'\\', x^low*0x7f
		// Each term has a byte's high bit set if the byte is over 0x7f, under
		// 0x20, or zero: equal to what it was compared with.
		if (x|(x-low*0x20)|(quote-low)|(backslash-low)|(del-low))&high != 0 {
			return plainBytes(b)
		}
		b = b[8:]
	}
	return plainBytes(b)
}

func plainBytes(b []byte) bool {
	for _, c := range b {
		if c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
