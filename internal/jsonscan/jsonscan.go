// Package jsonscan reads JSON documents of a known shape in one pass, for lists
// of thousands of them: members that nobody asks for are checked and passed over,
// and nothing is allocated but what is kept.
//
// It reads what it is sure to read as encoding/json does, and gives up on the
// rest: a document that isn't valid, a value of another type than asked for, a
// member that is named twice or differs from a known name in case. Whoever calls
// it then asks encoding/json, which has the right answer and the right error.
// Input is hostile: no panic, no recursion deeper than maxDepth; fuzzed against
// encoding/json.
package jsonscan

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"math/bits"
	"unicode/utf8"
)

// maxDepth is far above any document of a runtime's; encoding/json has 10,000.
const maxDepth = 200

// Scanner is at one place of a document. Each method but Members, Map and Array
// reads one value; those three call a function that must read one. A null reads
// as nothing: what it would be put into stays as it is.
type Scanner struct {
	b     []byte
	at    int
	depth int
	bad   bool
}

// Read has read take the document's only value, and says whether all of it was
// read. Where not, what was taken so far is worth nothing.
func Read(doc []byte, read func(*Scanner)) bool {
	s := Scanner{b: doc}
	s.blank()
	read(&s)
	s.blank()
	return !s.bad && s.at == len(s.b)
}

// Fail gives up: what is read is for encoding/json.
func (s *Scanner) Fail() { s.fail() }

// fail gives up. The place is put at the end, so that every loop ends.
func (s *Scanner) fail() { s.bad, s.at = true, len(s.b) }

// blank passes over white space.
func (s *Scanner) blank() {
	for s.at < len(s.b) {
		switch s.b[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// peek returns the next byte, 0 at the end.
func (s *Scanner) peek() byte {
	if s.at < len(s.b) {
		return s.b[s.at]
	}
	return 0
}

// take passes over one byte that must be c, and white space.
func (s *Scanner) take(c byte) bool {
	if s.peek() != c {
		s.fail()
		return false
	}
	s.at++
	s.blank()
	return true
}

// word passes over a literal, whose first byte was seen.
func (s *Scanner) word(w string) {
	if len(s.b)-s.at < len(w) || string(s.b[s.at:s.at+len(w)]) != w {
		s.fail()
		return
	}
	s.at += len(w)
	s.blank()
}

// Null passes over a null, and says whether there was one.
func (s *Scanner) Null() bool {
	if s.peek() != 'n' {
		return false
	}
	s.word("null")
	return true
}

// enter begins an object or array, and says whether there is anything to read.
func (s *Scanner) enter(open, end byte) bool {
	if !s.take(open) {
		return false
	}
	if s.peek() == end {
		s.take(end)
		return false
	}
	if s.depth++; s.depth > maxDepth {
		s.fail()
	}
	return !s.bad
}

// next says whether another element follows.
func (s *Scanner) next(end byte) bool {
	switch {
	case s.bad:
		return false
	case s.peek() == ',':
		s.take(',')
		return true
	}
	s.take(end)
	s.depth--
	return false
}

// Members reads an object: member is called where one of the names stands, no
// more than 64 of them, and reads the value; others are passed over.
func (s *Scanner) Members(names []string, member func(name string)) {
	if s.Null() {
		return
	}
	seen := uint64(0)
	for more := s.enter('{', '}'); more; more = s.next('}') {
		i := find(s.key(), names)
		if i == ambiguous || i >= 0 && seen&(1<<i) != 0 {
			s.fail() // encoding/json takes the last, or puts both together
		}
		if s.bad || !s.take(':') {
			return
		}
		if i < 0 {
			s.skip()
			continue
		}
		seen |= 1 << i
		member(names[i])
	}
}

// key reads a member's name as it stands there, nil where it has more to it than plain ASCII.
func (s *Scanner) key() []byte {
	raw, plain := s.literal()
	if !plain {
		s.fail()
		return nil
	}
	for _, c := range raw {
		if c >= utf8.RuneSelf {
			s.fail() // other letters may mean ASCII ones, by folding case
			return nil
		}
	}
	return raw
}

// What find returns beside an index.
const (
	unknown   = -1
	ambiguous = -2
)

// find returns the index of a key among names.
func find(key []byte, names []string) int {
	found := unknown
	for i, n := range names {
		if len(n) != len(key) {
			continue
		}
		if string(key) == n {
			return i
		}
		if sameFolded(key, n) {
			found = ambiguous
		}
	}
	return found
}

// sameFolded compares ASCII without regard to case.
func sameFolded(a []byte, b string) bool {
	for i, c := range a {
		if d := b[i]; c != d && (c|0x20 != d|0x20 || c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}

// Map reads an object of any names: value reads each value. It returns false for null.
func (s *Scanner) Map(value func(key string)) bool {
	if s.Null() {
		return false
	}
	for more := s.enter('{', '}'); more; more = s.next('}') {
		key := s.text()
		if s.bad || !s.take(':') {
			break
		}
		value(key)
	}
	return true
}

// Array reads an array: element reads each of its values. It returns false for null.
func (s *Scanner) Array(element func()) bool {
	if s.Null() {
		return false
	}
	for more := s.enter('[', ']'); more; more = s.next(']') {
		element()
	}
	return true
}

// Text reads a string.
func (s *Scanner) Text(to *string) {
	if !s.Null() {
		*to = s.text()
	}
}

// List reads an array: element reads one value into its place.
func List[T any](s *Scanner, to *[]T, element func(*T)) {
	out := []T{}
	if s.Array(func() {
		var none T
		out = append(out, none)
		element(&out[len(out)-1])
	}) {
		*to = out
	}
}

// Texts reads an array of strings.
func (s *Scanner) Texts(to *[]string) { List(s, to, s.Text) }

// TextMap reads an object of strings.
func (s *Scanner) TextMap(to *map[string]string) {
	out := make(map[string]string)
	if s.Map(func(key string) {
		var t string
		s.Text(&t)
		out[key] = t
	}) {
		*to = out
	}
}

// Bool reads true or false.
func (s *Scanner) Bool(to *bool) {
	switch {
	case s.Null():
	case s.peek() == 't':
		s.word("true")
		*to = true
	default:
		s.word("false")
		*to = false
	}
}

// maxDigits is how many digits the largest int64 has.
const maxDigits = 19

// Int64 reads a whole number.
func (s *Scanner) Int64(to *int64) {
	if s.Null() {
		return
	}
	start := s.at
	s.number()
	raw := s.b[start:s.at]
	negative := len(raw) > 0 && raw[0] == '-'
	if negative {
		raw = raw[1:]
	}
	v := uint64(0) // which has room for any 19 digits
	for _, c := range raw {
		if c < '0' || c > '9' {
			s.fail()
			return
		}
		v = v*10 + uint64(c-'0')
	}
	if len(raw) == 0 || len(raw) > maxDigits || v > math.MaxInt64 {
		s.fail()
		return
	}
	if *to = int64(v); negative {
		*to = -*to
	}
	s.blank()
}

// Int reads a whole number.
func (s *Scanner) Int(to *int) {
	if s.Null() {
		return
	}
	var v int64
	if s.Int64(&v); int64(int(v)) != v {
		s.fail()
	}
	*to = int(v)
}

// skip passes over any value.
func (s *Scanner) skip() {
	switch c := s.peek(); c {
	case '{':
		for more := s.enter('{', '}'); more; more = s.next('}') {
			s.literal()
			if s.bad || !s.take(':') {
				return
			}
			s.skip()
		}
	case '[':
		for more := s.enter('[', ']'); more; more = s.next(']') {
			s.skip()
		}
	case '"':
		s.literal()
	case 't':
		s.word("true")
	case 'f':
		s.word("false")
	case 'n':
		s.word("null")
	default:
		s.number()
		s.blank()
	}
}

// number passes over a number: RFC 8259, section 6.
func (s *Scanner) number() {
	if s.peek() == '-' {
		s.at++
	}
	if s.peek() == '0' {
		s.at++
	} else {
		s.digits()
	}
	if s.peek() == '.' {
		s.at++
		s.digits()
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.at++
		if c := s.peek(); c == '+' || c == '-' {
			s.at++
		}
		s.digits()
	}
}

// digits passes over one digit at least.
func (s *Scanner) digits() {
	start := s.at
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		s.at++
	}
	if s.at == start {
		s.fail()
	}
}

// text reads a string.
func (s *Scanner) text() string {
	start := s.at
	raw, plain := s.literal()
	if s.bad {
		return ""
	}
	if plain && utf8.Valid(raw) {
		return string(raw)
	}
	// Escapes, and bytes that aren't UTF-8: rare, and best left to who defines them.
	var out string
	if json.Unmarshal(s.b[start:s.at], &out) != nil {
		s.fail()
	}
	return out
}

// literal passes over a string and returns what stands between its quotes, and
// whether that is what it means.
func (s *Scanner) literal() (raw []byte, plain bool) {
	if s.peek() != '"' {
		s.fail()
		return nil, false
	}
	s.at++
	start := s.at
	plain = true
	for {
		s.at = special(s.b, s.at)
		switch s.peek() {
		case '"':
			raw = s.b[start:s.at]
			s.at++
			s.blank()
			return raw, plain
		case '\\':
			plain = false
			s.escape()
		default: // a control character, or the end
			s.fail()
		}
		if s.bad {
			return nil, false
		}
	}
}

// escape passes over a backslash and what belongs to it.
func (s *Scanner) escape() {
	s.at++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.at++
	case 'u':
		s.at++
		for range 4 {
			c := s.peek()
			if !(c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f') {
				s.fail()
				return
			}
			s.at++
		}
	default:
		s.fail()
	}
}

// Each byte of these is the same, for looking at eight at once.
const (
	ones   = 0x0101010101010101
	tops   = 0x80 * ones
	quotes = '"' * ones
	slash  = '\\' * ones
	blanks = ' ' * ones
)

// special returns where from i on the first byte stands that means something in
// a string: a quote, a backslash, a control character; the length where none does.
func special(b []byte, i int) int {
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		// A byte that is zero, or less than a blank, borrows from its top bit; the
		// lowest bit that this sets is a true one.
		q, s := x^quotes, x^slash
		if hit := ((q-ones)&^q | (s-ones)&^s | (x-blanks)&^x) & tops; hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c == '"' || c == '\\' || c < ' ' {
			return i
		}
	}
	return len(b)
}
