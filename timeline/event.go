package timeline

import (
	"fmt"
	"strings"
	"time"
)

// Event is one line of a timeline: a record at one of its times.
type Event struct {
	k     key
	v     view
	known bool // v is indexed
}

func (e *Event) set(it *item, commons []*Common) error {
	e.k, e.known = it.k, false
	return e.v.parse(it.rec, commons)
}

// index makes the fields findable, on first use.
func (e *Event) index() error {
	if e.known {
		return nil
	}
	e.known = true
	return e.v.index()
}

// Time returns when it happened. It means nothing where Desc is NotATime.
func (e *Event) Time() time.Time {
	return time.Unix(e.k.sec(), int64(e.k.nsec())).UTC()
}

// Desc returns what happened.
func (e *Event) Desc() Desc { return e.k.desc() }

// DataType returns the record's kind.
func (e *Event) DataType() DataType { return e.v.kind }

// MACB returns which of a file's times this is, as "m.c.", or "....".
func (e *Event) MACB() string { return macbNames[e.k.macb()] }

// Message returns the line's text.
func (e *Event) Message() string {
	if e.index() != nil {
		return ""
	}
	b, _ := e.v.message(nil)
	return string(b)
}

// Text returns a field as text, "" where the record has none. Lists are JSON.
func (e *Event) Text(f fmt.Stringer) string {
	if e.index() != nil {
		return ""
	}
	var id uint8
	switch f := f.(type) {
	case StringField:
		id = uint8(f)
	case IntField:
		id = uint8(f)
	case BoolField:
		id = uint8(f)
	case ListField:
		id = uint8(f)
	default:
		return ""
	}
	v, ok := e.v.find(id)
	if !ok {
		return ""
	}
	if v.form == formSuffix { // never: text resolves it
		return ""
	}
	return strings.Clone(string(v.appendText(nil)))
}
