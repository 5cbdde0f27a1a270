package timeline

import (
	"fmt"
	"strings"
	"sync"
)

// Template says how a line's text is made of the record's fields, in the way
// of plaso's formatters: {key} is a field's value, {key:o} a number in octal
// of at least three digits. The text between two fields belongs to the second:
// where a record has no such field, that text is left out with it.
type Template struct {
	id    uint64 // 1 and up
	parts []part
	tail  string
}

type part struct {
	before string
	field  uint8
	octal  bool
}

var templates struct {
	sync.RWMutex
	all []*Template
}

// maxTemplates keeps templates from being made one a record.
const maxTemplates = 1000

// NewTemplate makes a template. It is meant for package variables, and panics
// on a field that doesn't exist, as regexp.MustCompile does.
func NewTemplate(format string) *Template {
	t := &Template{}
	rest := format
	for {
		before, after, ok := strings.Cut(rest, "{")
		if !ok {
			t.tail = before
			break
		}
		key, more, ok := strings.Cut(after, "}")
		name, verb, _ := strings.Cut(key, ":")
		id := fieldByName(name)
		if !ok || id == 0 || verb != "" && verb != "o" {
			panic(fmt.Sprintf("timeline: template %q: no such field: %q", format, key))
		}
		t.parts = append(t.parts, part{before, uint8(id), verb == "o"})
		rest = more
	}
	if !plain([]byte(t.tail)) {
		panic(fmt.Sprintf("timeline: template %q: not plain text", format))
	}
	for _, p := range t.parts {
		if !plain([]byte(p.before)) {
			panic(fmt.Sprintf("timeline: template %q: not plain text", format))
		}
	}
	templates.Lock()
	defer templates.Unlock()
	if len(templates.all) >= maxTemplates {
		panic("timeline: too many templates")
	}
	templates.all = append(templates.all, t)
	t.id = uint64(len(templates.all))
	return t
}

// The texts of files, as plaso's fs:stat formatter writes them, and what a
// container did to them.
var (
	FileMessage          = NewTemplate("{display_name} Type: {file_entry_type} Owner identifier: {owner_identifier} Group identifier: {group_identifier} Mode: 0o{mode:o} Number of links: {number_of_links}")
	ContainerFileMessage = NewTemplate("{display_name} Type: {file_entry_type} Owner identifier: {owner_identifier} Group identifier: {group_identifier} Mode: 0o{mode:o} Number of links: {number_of_links} [{change_kind}, {layer_source} layer]")
)

func (t *Template) number() uint64 {
	if t == nil {
		return 0
	}
	return t.id
}

// templateOf returns the template of a number, nil where there is none.
func templateOf(n uint64) *Template {
	if n == 0 {
		return nil
	}
	templates.RLock()
	defer templates.RUnlock()
	if n > uint64(len(templates.all)) {
		return nil
	}
	return templates.all[n-1]
}

// appendText appends the line's text, not escaped.
func (t *Template) appendText(dst []byte, v *view) []byte {
	for i := range t.parts {
		p := &t.parts[i]
		f, ok := v.find(p.field)
		if !ok {
			continue
		}
		dst = append(dst, p.before...)
		if p.octal {
			dst = appendOctal(dst, f.num)
		} else {
			dst = f.appendText(dst)
		}
	}
	return append(dst, t.tail...)
}

// appendMessage appends the line's text, which is never empty: the message,
// the template's, or the name of what the record is about.
func (v *view) appendMessage(dst []byte) []byte {
	start := len(dst)
	if f, ok := v.find(uint8(FieldMessage)); ok {
		dst = f.appendText(dst)
	} else if v.template != nil {
		dst = v.template.appendText(dst, v)
	}
	if len(dst) == start {
		dst = append(dst, v.name...)
	}
	if len(dst) == start {
		dst = append(dst, v.kind.String()...)
	}
	return dst
}

// message is appendMessage with the text cut where it is too long, and whether it was.
func (v *view) message(dst []byte) ([]byte, bool) {
	start := len(dst)
	dst = v.appendMessage(dst)
	if len(dst)-start > maxText {
		return dst[:start+cut(dst[start:], maxText)], true
	}
	return dst, false
}

func appendOctal(dst []byte, n int64) []byte {
	if n < 0 {
		return appendInt(dst, n)
	}
	var b [22]byte
	i := len(b)
	for n > 0 || i > len(b)-3 {
		i--
		b[i] = byte('0' + n&7)
		n >>= 3
	}
	return append(dst, b[i:]...)
}
