package timeline

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/adler32"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"

	"lagan/timeline/sqlitefile"
)

// The versions of plaso's storage file. Each plaso takes only its own, while
// the tables are the same (plaso/storage/sqlite/sqlite_file.py, _FORMAT_VERSION).
const (
	PlasoNewest = 20260516 // of plaso since 2026-05-16
	PlasoOlder  = 20230327 // of those before
)

// PlasoVersions lists them, the default first.
var PlasoVersions = []int{PlasoNewest, PlasoOlder}

// The tables of plaso's file, as plaso and acstore define them: the columns in
// the order of their names.
var plasoTables = [...]struct{ name, columns string }{
	{"session", "aborted INTEGER, artifact_filters TEXT, command_line_arguments TEXT, completion_time INTEGER, debug_mode INTEGER, enabled_parser_names TEXT, file_entropy TEXT, " +
		"filter_file TEXT, identifier TEXT, parser_filter_expression TEXT, preferred_codepage TEXT, preferred_encoding TEXT, preferred_language TEXT, preferred_time_zone TEXT, " +
		"preferred_year INTEGER, product_name TEXT, product_version TEXT, start_time INTEGER"},
	{"event_data_stream", "file_entropy TEXT, md5_hash TEXT, path_spec TEXT, sha1_hash TEXT, sha256_hash TEXT, yara_match TEXT"},
	{"event_data", "_data BLOB"},
	{"event", "_event_data_identifier TEXT, date_time TEXT, timestamp INTEGER, timestamp_desc TEXT"},
	{"event_tag", "_event_identifier TEXT, labels TEXT"},
	{"parser_count", "name TEXT, number_of_events INTEGER"},
	{"data_type_count", "name TEXT, number_of_events INTEGER"},
	{"event_label_count", "label TEXT, number_of_events INTEGER"},
	{"extraction_warning", "message TEXT, parser_chain TEXT, path_spec TEXT"},
}

const (
	plasoSession = iota
	plasoStreams
	plasoData
	plasoEvents
	plasoTags
	plasoParsers
	plasoTypes
	plasoLabels
	plasoWarnings
)

// plasoFile writes plaso's storage file from what the encoder rendered.
type plasoFile struct {
	w       io.Writer
	temp    *os.File // where w can't be written out of order
	db      *sqlitefile.DB
	tables  [len(plasoTables)]*sqlitefile.Table
	data    recent // event data that is in the file
	streams recent
	row     sqlitefile.Row
	json    []byte
	blob    []byte
	counts  [3]map[string]int64 // by parser, by kind, by label
	tagged  []uint64            // the event of each tag
	first   int64
	last    int64
}

// newPlasoFile begins a file. w is written in place where it can be, else
// copied to at the end.
func newPlasoFile(w io.Writer, o Options) (*plasoFile, error) {
	p := &plasoFile{w: w}
	for i := range p.counts {
		p.counts[i] = make(map[string]int64)
	}
	file, ok := w.(interface {
		io.WriterAt
		io.Seeker
	})
	if ok {
		at, err := file.Seek(0, io.SeekCurrent)
		ok = err == nil && at == 0
	}
	var out io.WriterAt = file
	if !ok {
		var err error
		if p.temp, err = os.CreateTemp(o.TempDir, ".lagan-plaso-*"); err != nil {
			return nil, fmt.Errorf("making a temporary file for plaso's storage: %w", err)
		}
		out = p.temp
	}
	var err error
	if p.db, err = sqlitefile.New(out); err != nil {
		return nil, err
	}
	return p, p.begin(o.PlasoVersion)
}

// begin makes the tables.
func (p *plasoFile) begin(version int) error {
	if version == 0 {
		version = PlasoNewest
	}
	if !slices.Contains(PlasoVersions, version) {
		return fmt.Errorf("plaso has no storage format %d; there are %v", version, PlasoVersions)
	}
	meta := p.db.Table("metadata", "CREATE TABLE metadata (key TEXT, value TEXT)", false)
	for _, m := range [][2]string{{"format_version", strconv.Itoa(version)}, {"compression_format", "zlib"}, {"serialization_format", "json"}} {
		if _, err := meta.Add(m[0], m[1]); err != nil {
			return err
		}
	}
	for i, t := range plasoTables {
		p.tables[i] = p.db.Table(t.name, "CREATE TABLE "+t.name+" (_identifier INTEGER PRIMARY KEY AUTOINCREMENT, "+t.columns+")", true)
	}
	return nil
}

// Write takes a batch of the encoder's.
func (p *plasoFile) Write(b []byte) (int, error) {
	all := len(b)
	for len(b) > 0 {
		var e plasoEvent
		var ok bool
		if b, ok = e.read(b); !ok {
			return 0, errRecord("row for plaso")
		}
		if err := p.event(&e); err != nil {
			return 0, err
		}
	}
	return all, nil
}

// plasoEvent is one event as the encoder rendered it.
type plasoEvent struct {
	sec                                          int64
	nsec                                         uint32
	desc                                         Desc
	kind                                         DataType
	dataKey, streamKey                           [16]byte
	parser, location, sha256, md5, tags, deflate []byte
	size, adler                                  uint32
}

func (e *plasoEvent) read(b []byte) ([]byte, bool) {
	const fixed = plasoHead + 1 + 32 + 4
	if len(b) < fixed {
		return nil, false
	}
	le := binary.LittleEndian
	e.sec, e.nsec, e.desc, e.kind = int64(le.Uint64(b)), le.Uint32(b[8:]), Desc(b[12]), DataType(b[13])
	e.dataKey, e.streamKey = [16]byte(b[14:30]), [16]byte(b[30:46])
	size := int(le.Uint32(b[46:]))
	if b = b[fixed:]; size > len(b) {
		return nil, false
	}
	body := b[:size]
	for _, to := range []*[]byte{&e.parser, &e.location, &e.sha256, &e.md5, &e.tags, &e.deflate} {
		if len(body) < 4 || int(le.Uint32(body)) > len(body)-4 {
			return nil, false
		}
		n := int(le.Uint32(body))
		*to, body = body[4:4+n], body[4+n:]
	}
	if len(body) != 8 {
		return nil, false
	}
	e.size, e.adler = le.Uint32(body), le.Uint32(body[4:])
	return b[size:], true
}

// event adds the rows of one event, and of what it refers to.
func (p *plasoFile) event(e *plasoEvent) error {
	data, err := p.eventData(e)
	if err != nil {
		return err
	}
	sec, us := micros(e.sec, e.nsec)
	p.row.Reset()
	p.row.Text(strconv.AppendUint(append(p.json[:0], "event_data."...), data, 10))
	var c clock
	p.json = append(p.json[:0], `{"__class_name__": "PosixTimeInNanoseconds", "__type__": "DateTimeValues", "timestamp": `...)
	p.json = append(c.appendScaled(p.json, e.sec, e.nsec, 9), '}')
	p.row.Text(p.json)
	stamp := sec*1_000_000 + int64(us)
	p.row.Int(stamp)
	p.row.Text([]byte(e.desc.String()))
	id, err := p.tables[plasoEvents].AddRow(&p.row)
	if err != nil {
		return err
	}
	if id == 1 {
		p.first = stamp
	}
	p.last = stamp
	p.counts[0][string(e.parser)]++
	p.counts[1][e.kind.String()]++
	return p.tag(e, id)
}

// eventData returns the number of the event's data, which is added where the
// file doesn't have it.
func (p *plasoFile) eventData(e *plasoEvent) (uint64, error) {
	if id, ok := p.data.get(e.dataKey); ok {
		return id, nil
	}
	stream, err := p.stream(e)
	if err != nil {
		return 0, err
	}
	head := append(p.json[:0], `{"__type__": "AttributeContainer", "__container_type__": "event_data", `...)
	if stream > 0 {
		head = append(strconv.AppendUint(append(head, `"_event_data_stream_identifier": "event_data_stream.`...), stream, 10), `", `...)
	}
	head = append(append(append(head, `"_parser_chain": "`...), e.parser...), `", `...) // ours, plain text
	p.json = head
	p.row.Reset()
	p.blob = appendZlib(p.blob[:0], head, e)
	p.row.Blob(p.blob)
	id, err := p.tables[plasoData].AddRow(&p.row)
	if err == nil {
		p.data.add(e.dataKey, id)
	}
	return id, err
}

// appendZlib appends a zlib stream (RFC 1950) of head, as it is, and of what the
// encoder deflated.
func appendZlib(dst, head []byte, e *plasoEvent) []byte {
	dst = append(dst, 0x78, 0x01, 0) // a window of 32 KiB; a block that is stored, not the last
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(head)))
	dst = binary.LittleEndian.AppendUint16(dst, ^uint16(len(head)))
	dst = append(append(dst, head...), e.deflate...)
	return binary.BigEndian.AppendUint32(dst, adlerOfBoth(adler32.Checksum(head), e.adler, e.size))
}

// adlerOfBoth is the Adler-32 of two texts one after the other, size being the
// second's length.
func adlerOfBoth(x, y, size uint32) uint32 {
	const mod = 65521
	a1, b1, a2, b2 := uint64(x&0xffff), uint64(x>>16), uint64(y&0xffff), uint64(y>>16)
	n := uint64(size % mod)
	a := (a1 + a2 + mod - 1) % mod
	b := (b1 + b2 + n*(a1+mod-1)) % mod
	return uint32(b<<16 | a)
}

// stream returns the number of the data stream, 0 where the event has none.
func (p *plasoFile) stream(e *plasoEvent) (uint64, error) {
	if len(e.location) == 0 && len(e.sha256) == 0 {
		return 0, nil
	}
	if id, ok := p.streams.get(e.streamKey); ok {
		return id, nil
	}
	p.row.Reset()
	p.row.Null()
	p.optional(e.md5)
	p.optional(e.location)
	p.row.Null()
	p.optional(e.sha256)
	p.row.Null()
	id, err := p.tables[plasoStreams].AddRow(&p.row)
	if err == nil {
		p.streams.add(e.streamKey, id)
	}
	return id, err
}

func (p *plasoFile) optional(b []byte) {
	if len(b) == 0 {
		p.row.Null()
		return
	}
	p.row.Text(b)
}

// tag adds an event's labels.
func (p *plasoFile) tag(e *plasoEvent, event uint64) error {
	if len(e.tags) < 2 {
		return nil
	}
	p.row.Reset()
	p.row.Text(strconv.AppendUint(append(p.json[:0], "event."...), event, 10))
	p.row.Text(e.tags)
	p.tagged = append(p.tagged, event)
	for label := range stringsOf(e.tags) {
		p.counts[2][label]++
	}
	_, err := p.tables[plasoTags].AddRow(&p.row)
	return err
}

// stringsOf yields the strings of a JSON list of tags, which have no escapes.
func stringsOf(list []byte) func(func(string) bool) {
	return func(yield func(string) bool) {
		for {
			start := slices.Index(list, '"')
			if start < 0 {
				return
			}
			end := slices.Index(list[start+1:], '"')
			if end < 0 || !yield(string(list[start+1:start+1+end])) {
				return
			}
			list = list[start+end+2:]
		}
	}
}

// finish writes the counts, the session and what is left.
func (p *plasoFile) finish() error {
	err := p.session()
	for i, table := range []int{plasoParsers, plasoTypes, plasoLabels} {
		total := int64(0)
		for _, name := range slices.Sorted(maps.Keys(p.counts[i])) {
			total += p.counts[i][name]
			if err == nil {
				_, err = p.tables[table].Add(name, p.counts[i][name])
			}
		}
		if err == nil && (total > 0 || table != plasoLabels) {
			_, err = p.tables[table].Add("total", total)
		}
	}
	if err == nil {
		err = p.tagIndex()
	}
	if err == nil {
		err = p.db.Close()
	}
	if err != nil || p.temp == nil {
		return err
	}
	if _, err := p.temp.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err = io.Copy(p.w, p.temp)
	return err
}

// tagIndex adds the index of tags by event, in the order of text.
func (p *plasoFile) tagIndex() error {
	ids := make([]uint64, len(p.tagged))
	for i := range ids {
		ids[i] = uint64(i + 1)
	}
	var a, b []byte
	slices.SortFunc(ids, func(x, y uint64) int {
		a, b = strconv.AppendUint(a[:0], p.tagged[x-1], 10), strconv.AppendUint(b[:0], p.tagged[y-1], 10)
		return slices.Compare(a, b)
	})
	return p.tables[plasoTags].Index("event_tag_per_event", "CREATE INDEX event_tag_per_event ON event_tag (_event_identifier)", func(yield func([]byte, uint64) bool) {
		for _, id := range ids {
			a = strconv.AppendUint(append(a[:0], "event."...), p.tagged[id-1], 10)
			if !yield(a, id) {
				return
			}
		}
	})
}

// session adds the one session. Nothing of it depends on when or where this
// runs: the same evidence gives the same file. Its times are those of the first
// and the last event.
func (p *plasoFile) session() error {
	sum := sha256.Sum256(fmt.Appendf(nil, "lagan %d %d %d", p.tables[plasoEvents].Rows(), p.first, p.last))
	parsers := []byte{'['}
	for i, name := range slices.Sorted(maps.Keys(p.counts[0])) {
		if i > 0 {
			parsers = append(parsers, ", "...)
		}
		parsers = append(append(append(parsers, '"'), name...), '"')
	}
	_, err := p.tables[plasoSession].Add(int64(0), nil, "lagan timeline", p.last, int64(0), string(append(parsers, ']')), nil, nil, hex.EncodeToString(sum[:16]),
		"", nil, "UTF-8", "en-US", "UTC", nil, "plaso", "20260720", p.first)
	return err
}

// close removes what only this run needs.
func (p *plasoFile) close() error {
	if p.temp == nil {
		return nil
	}
	return errors.Join(p.temp.Close(), os.Remove(p.temp.Name()))
}

// recent remembers the numbers of what was added, of the latest at least
// keepRecent: what comes again later is added again.
type recent struct{ now, before map[[16]byte]uint64 }

const keepRecent = 1 << 19

func (r *recent) get(key [16]byte) (uint64, bool) {
	id, ok := r.now[key]
	if !ok {
		id, ok = r.before[key]
	}
	return id, ok
}

func (r *recent) add(key [16]byte, id uint64) {
	if r.now == nil || len(r.now) >= keepRecent {
		r.before, r.now = r.now, make(map[[16]byte]uint64)
	}
	r.now[key] = id
}
