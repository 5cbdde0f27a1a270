package timeline

import (
	"bytes"
	"encoding/binary"
	"hash/adler32"
	"hash/maphash"

	"github.com/klauspost/compress/flate"

	"lagan/internal/text"
)

// plaso renders the rows of plaso's storage file: what can be made of a record
// without knowing the numbers of its rows, in several goroutines. What comes of
// it is read by plasoFile, which numbers rows and writes them:
//
//	uint64   seconds since 1970
//	uint32   nanoseconds
//	byte     what happened
//	byte     the kind of record, as plaso is told
//	[16]byte which event data it is, and [16]byte which data stream
//	uint32   length of what follows
//	then, each with a uint32 for its length: the parser, where the data is
//	(JSON), its sha256, its md5, the tags (JSON), the attributes (deflated);
//	and the attributes' own length and Adler-32
//
// An event's record is rendered once in a batch, and again in another: only the
// file knows whether it has it.
type plaso struct {
	commons []*Common
	v       view
	seed    [2]maphash.Seed
	tails   tailCache
	json    []byte
	scratch []byte
	packed  bytes.Buffer
}

const plasoHead = 8 + 4 + 1

// plasoKinds are what kinds of our own become, which plaso has no formatter
// for: the nearest of its kinds whose formatter shows message_body.
var plasoKinds = func() (kinds [maxDataTypes]DataType) {
	for k := range kinds {
		kinds[k] = SyslogLine
	}
	for _, k := range []DataType{
		FSStat, ContainerConfiguration, LayerConfiguration, DockerLogEntry, CRILogEntry, SystemdJournal, SyslogLine, SyslogCronTaskRun, SyslogSSHLogin,
		SyslogSSHFailedConnection, SyslogSSHOpenedConnection, Utmp, BashHistory, ZshHistory, SELinuxLine, DpkgLog, AptHistoryLog, ApacheAccessLog, CloudTrailEntry,
	} {
		kinds[k] = k
	}
	kinds[RecoveredFile], kinds[DnfLog], kinds[RPMPackage] = FSStat, DpkgLog, DpkgLog
	return kinds
}()

func newPlaso(s *Sorter) *plaso { return &plaso{commons: s.commons, seed: s.seeds} }

func (*plaso) header(dst []byte) []byte { return dst }

func (p *plaso) append(dst []byte, items []item) ([]byte, error) {
	p.tails[0].rec = nil
	for i := range items {
		it := &items[i]
		dst = binary.LittleEndian.AppendUint64(dst, uint64(it.k.sec()))
		dst = binary.LittleEndian.AppendUint32(dst, it.k.nsec())
		dst = append(dst, byte(it.k.desc()))
		tail := p.tails.entry(it)
		if len(*tail) == 0 {
			var err error
			if *tail, err = p.record(*tail, it.rec); err != nil {
				return dst, err
			}
		}
		dst = append(dst, *tail...)
	}
	return dst, nil
}

// record appends what the rows of a record have but their numbers and times.
func (p *plaso) record(dst, rec []byte) ([]byte, error) {
	v := &p.v
	if err := v.parse(rec, p.commons); err != nil {
		return dst[:0], err
	}
	if err := v.index(); err != nil {
		return dst[:0], err
	}
	kind := v.kind.known()
	dst = append(dst, byte(plasoKinds[kind]))
	for _, seed := range p.seed {
		dst = binary.LittleEndian.AppendUint64(dst, maphash.Bytes(seed, rec))
	}
	p.stream()
	place := len(p.json)
	if f, ok := v.find(uint8(FieldSHA256Hash)); ok {
		p.json = f.appendText(p.json)
	}
	for _, seed := range p.seed {
		dst = binary.LittleEndian.AppendUint64(dst, maphash.Bytes(seed, p.json))
	}
	p.json = p.json[:place]
	size := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = p.piece(dst, FieldParser)
	dst = appendPiece(dst, p.json)
	dst = p.piece(dst, FieldSHA256Hash)
	dst = p.piece(dst, FieldMD5Hash)
	p.json = p.json[:0]
	if tags, ok := v.find(uint8(FieldTag)); ok {
		p.json = tags.appendValue(p.json)
	}
	dst = appendPiece(dst, p.json)
	p.attributes(kind)
	p.packed.Reset()
	if err := flate.StatelessDeflate(&p.packed, p.json, true, nil); err != nil {
		return dst[:0], err
	}
	dst = appendPiece(dst, p.packed.Bytes())
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(p.json)))
	dst = binary.LittleEndian.AppendUint32(dst, adler32.Checksum(p.json))
	binary.LittleEndian.PutUint32(dst[size:], uint32(len(dst)-size-4))
	return dst, nil
}

func appendPiece(dst, b []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(dst, uint32(len(b))), b...)
}

func (p *plaso) piece(dst []byte, f StringField) []byte {
	p.scratch = p.scratch[:0]
	if v, ok := p.v.find(uint8(f)); ok {
		p.scratch = v.appendText(p.scratch)
	}
	return appendPiece(dst, p.scratch)
}

// stream puts into json where the record's data is: a path specification of
// the file, nothing where it is of none.
func (p *plaso) stream() {
	p.json = p.json[:0]
	f, ok := p.v.find(uint8(FieldFilename))
	if !ok {
		return
	}
	p.json = append(p.json, `{"__type__": "PathSpec", "location": `...)
	if name := p.v.name; len(name) > 0 {
		p.json = appendJSONText(p.json, name, p.v.nameForm) // says which container's
	} else {
		p.json = f.appendValue(p.json)
	}
	p.json = append(p.json, `, "type_indicator": "OS"}`...)
}

// plasoElsewhere are the fields that have places of their own in the file, and
// message, which plaso makes itself.
var plasoElsewhere = func() (s fieldSet) {
	for _, f := range []StringField{FieldMessage, FieldParser, FieldSHA256Hash, FieldMD5Hash} {
		s.add(uint8(f))
	}
	s.add(uint8(FieldTag))
	return s
}()

// attributes puts the attributes of the event data into json, without the
// brace that opens them.
func (p *plaso) attributes(kind DataType) {
	v := &p.v
	told := plasoKinds[kind]
	p.json = append(append(append(p.json[:0], `"data_type": "`...), told.String()...), '"')
	if told != kind {
		p.json = append(append(append(p.json, `,"lagan_data_type":"`...), kind.String()...), '"')
	}
	if v.ownName || v.common != nil && len(v.common.name) > 0 {
		p.json = append(p.json, fieldKeys[FieldDisplayName]...)
		p.json = appendJSONText(p.json, v.name, v.nameForm)
	}
	if v.offset != 0 {
		p.json = appendInt(append(p.json, fieldKeys[FieldOffset]...), int64(v.offset-1))
	}
	for f := range v.fields() {
		p.attribute(f, told)
	}
	if c := v.common; c != nil {
		cv := view{name: c.name, nameForm: c.form, body: c.body}
		for f := range cv.fields() {
			if !v.mask.has(f.id) {
				p.attribute(f, told)
			}
		}
	}
	if told != kind && told != FSStat { // shown by message_body
		if !v.has(uint8(FieldMessageBody)) {
			p.scratch, _ = v.message(p.scratch[:0])
			p.json = append(p.json, fieldKeys[FieldMessageBody]...)
			p.json = text.AppendJSON(p.json, string(p.scratch))
		}
		if !v.has(uint8(FieldReporter)) {
			p.json = append(p.json, `,"reporter":"lagan"`...)
		}
	}
	p.json = append(p.json, '}')
}

// plasoNumbers are the words that plaso has numbers for in its own records.
var plasoNumbers = map[fieldID]map[string]int64{
	id(FieldLoginType): {
		"EMPTY": 0, "RUN_LVL": 1, "BOOT_TIME": 2, "NEW_TIME": 3, "OLD_TIME": 4, "INIT_PROCESS": 5, "LOGIN_PROCESS": 6, "USER_PROCESS": 7, "DEAD_PROCESS": 8, "ACCOUNTING": 9,
	},
	id(FieldSeverity): {"EMERGENCY": 0, "ALERT": 1, "CRITICAL": 2, "ERROR": 3, "WARNING": 4, "NOTICE": 5, "INFO": 6, "DEBUG": 7},
}

func (p *plaso) attribute(f field, told DataType) {
	if plasoElsewhere.has(f.id) {
		return
	}
	if told == Utmp && f.id == uint8(FieldLoginType) || told == SystemdJournal && f.id == uint8(FieldSeverity) {
		if n, ok := plasoNumbers[f.id][string(f.b)]; ok {
			p.json = appendInt(append(p.json, fieldKeys[f.id]...), n)
			return
		}
	}
	p.json = f.appendJSON(p.json)
}
