package timeline

import "strconv"

// TLN is the format of five fields between bars that Harlan Carvey's tools and
// plaso's tln output write (plaso/output/tln.py):
//
//	Time|Source|Host|User|Description
//
// Time is in whole seconds since 1970, so that the description begins with the
// exact time and what happened then.
const TLN Format = "tln"

// tln writes it. A bar or a line break in a value becomes a space, as there;
// other control characters are written as \xNN. What is unknown is a dash.
type tln struct {
	commons []*Common
	clock   clock
	v       view
	scratch []byte
}

func newTLN(s *Sorter) encoder { return &tln{commons: s.commons} }

func (*tln) header(dst []byte) []byte {
	return append(dst, "Time|Source|Host|User|Description\n"...)
}

func (t *tln) append(dst []byte, items []item) ([]byte, error) {
	for i := range items {
		var err error
		if dst, err = t.line(dst, &items[i]); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

func (t *tln) line(dst []byte, it *item) ([]byte, error) {
	v := &t.v
	if err := v.parse(it.rec, t.commons); err != nil {
		return dst, err
	}
	if err := v.index(); err != nil {
		return dst, err
	}
	sec, micro := micros(it.k.sec(), it.k.nsec())
	dst = append(strconv.AppendInt(dst, sec, 10), '|')
	dst = append(append(dst, dataTypes[v.kind.known()].short...), '|')
	dst = append(t.field(dst, FieldHostname), '|')
	dst = append(t.field(dst, FieldUsername), '|')
	t.clock.set(sec)
	dst = append(append(dst, t.clock.date[:]...), '.')
	dst = appendPadded(dst, micro, 6)
	dst = append(append(append(dst, "+00:00; "...), it.k.desc().String()...), "; "...)
	msg, _ := v.message(t.scratch[:0])
	t.scratch = msg
	return append(appendClean(dst, msg, '|'), '\n'), nil
}

func (t *tln) field(dst []byte, f StringField) []byte {
	v, ok := t.v.find(uint8(f))
	if ok {
		t.scratch = v.appendText(t.scratch[:0])
	}
	if !ok || len(t.scratch) == 0 {
		return append(dst, '-')
	}
	return appendClean(dst, t.scratch, '|')
}
