package timeline

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"lagan/internal/text"
)

// ecs writes Elastic Common Schema documents for the bulk interface of
// Elasticsearch: a line that says where, then the document, for each event. The
// _id is a hash of the document, so that importing twice changes nothing. What
// the schema (www.elastic.co, ECS 8.11) has no place for is under lagan.
type ecs struct {
	commons []*Common
	clock   clock
	v       view
	doc     nest
	scratch []byte
}

const (
	ecsVersion = "8.11.0"
	ecsIndex   = "lagan-timeline"
)

// How a field becomes a value of the schema.
type ecsKind uint8

const (
	asIs     ecsKind = iota
	asText           // a number as a keyword
	asNumber         // text as a number, left out where it is none
	asIP             // left out where it is none: the index would refuse the document
	asOctal          // a mode
	asList           // one text as a list
	asType           // a file's type
)

// ecsFields says where fields go. Of several for one place the first that the
// record has is taken.
var ecsFields = []struct {
	field fieldID
	path  string
	kind  ecsKind
}{
	{id(FieldContainerID), "container.id", asIs},
	{id(FieldImageDigest), "container.image.hash.all", asList},
	{id(FieldImageName), "container.image.name", asIs},
	{id(FieldContainerName), "container.name", asIs},
	{id(FieldContainerRuntime), "container.runtime", asIs},
	{id(FieldDestinationIPAddress), "destination.ip", asIP},
	{id(FieldDestinationPort), "destination.port", asNumber},
	{id(FieldError), "error.message", asIs},
	{id(FieldAction), "event.action", asIs},
	{id(FieldEventName), "event.action", asIs},
	{id(FieldVerb), "event.action", asIs},
	{id(FieldParser), "event.provider", asIs},
	{id(FieldReason), "event.reason", asIs},
	{id(FieldGroupIdentifier), "file.gid", asText},
	{id(FieldMD5Hash), "file.hash.md5", asIs},
	{id(FieldSHA256Hash), "file.hash.sha256", asIs},
	{id(FieldInode), "file.inode", asIs},
	{id(FieldMode), "file.mode", asOctal},
	{id(FieldFilename), "file.path", asIs},
	{id(FieldFileSize), "file.size", asIs},
	{id(FieldSymbolicLinkTarget), "file.target_path", asIs},
	{id(FieldFileEntryType), "file.type", asType},
	{id(FieldOwnerIdentifier), "file.uid", asText},
	{id(FieldHostname), "host.hostname", asIs},
	{id(FieldHTTPRequestMethod), "http.request.method", asIs},
	{id(FieldHTTPRequestReferer), "http.request.referrer", asIs},
	{id(FieldHTTPResponseBytes), "http.response.bytes", asNumber},
	{id(FieldHTTPResponseCode), "http.response.status_code", asNumber},
	{id(FieldLogPath), "log.file.path", asIs},
	{id(FieldSeverity), "log.level", asIs},
	{id(FieldKubernetesNamespace), "orchestrator.namespace", asIs},
	{id(FieldKubernetesPodUID), "orchestrator.resource.id", asIs},
	{id(FieldKubernetesPodName), "orchestrator.resource.name", asIs},
	{id(FieldCommandLine), "process.command_line", asIs},
	{id(FieldCommand), "process.command_line", asIs},
	{id(FieldExecutable), "process.executable", asIs},
	{id(FieldExitCode), "process.exit_code", asIs},
	{id(FieldReporter), "process.name", asIs},
	{id(FieldPID), "process.pid", asIs},
	{id(FieldIPAddress), "source.ip", asIP},
	{id(FieldSourceIP), "source.ip", asIP},
	{id(FieldPort), "source.port", asNumber},
	{id(FieldURL), "url.original", asIs},
	{id(FieldUsername), "user.name", asIs},
	{id(FieldUserName), "user.name", asIs},
	{id(FieldHTTPRequestUserAgent), "user_agent.original", asIs},
	{id(FieldUserAgent), "user_agent.original", asIs},
}

type fieldID = uint8

func id[F StringField | IntField | BoolField | ListField](f F) fieldID { return fieldID(f) }

// ecsRow is one place of a document.
type ecsRow struct {
	path []string
	// from are the fields that it may come from; none: the writer makes it.
	from []ecsSource
	made func(*ecs, *item) // appends the value, after having the key written
}

type ecsSource struct {
	field fieldID
	kind  ecsKind
}

// ecsRows are all places in the order of their paths, so that what is in one
// object comes together.
var ecsRows = func() []ecsRow {
	rows := map[string]*ecsRow{}
	at := func(path string) *ecsRow {
		if rows[path] == nil {
			rows[path] = &ecsRow{path: strings.Split(path, ".")}
		}
		return rows[path]
	}
	var placed fieldSet
	for _, f := range ecsFields {
		r := at(f.path)
		r.from = append(r.from, ecsSource{f.field, f.kind})
		placed.add(f.field)
	}
	for _, f := range []fieldID{id(FieldMessage), id(FieldTag)} {
		placed.add(f)
	}
	// What may not fit its place, or find it taken, is kept as it is too.
	var kept fieldSet
	for _, f := range []StringField{
		FieldIPAddress, FieldSourceIP, FieldPort, FieldDestinationIPAddress, FieldDestinationPort, FieldHTTPResponseCode, FieldHTTPResponseBytes,
		FieldEventName, FieldVerb, FieldCommand, FieldUserName, FieldUserAgent,
	} {
		kept.add(uint8(f))
	}
	for f := 1; f < numFields; f++ {
		if !placed.has(uint8(f)) || kept.has(uint8(f)) {
			r := at("lagan." + fieldNames[f])
			r.from = append(r.from, ecsSource{uint8(f), asIs})
		}
	}
	for path, made := range ecsMade {
		at(path).made = made
	}
	var out []ecsRow
	for _, r := range rows {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b ecsRow) int { return slices.Compare(a.path, b.path) })
	return out
}()

// ecsMade are the values that are not fields, by their paths.
var ecsMade = map[string]func(*ecs, *item){
	"@timestamp":           func(e *ecs, it *item) { e.time(it) },
	"ecs.version":          func(e *ecs, _ *item) { e.doc.text(ecsVersion) },
	"event.category":       func(e *ecs, _ *item) { e.doc.optional(ecsCategories[e.v.kind]) },
	"event.dataset":        func(e *ecs, _ *item) { e.doc.text("lagan." + e.v.kind.String()) },
	"event.kind":           func(e *ecs, _ *item) { e.doc.text("event") },
	"event.module":         func(e *ecs, _ *item) { e.doc.text("lagan") },
	"event.outcome":        func(e *ecs, _ *item) { e.outcome() },
	"event.type":           func(e *ecs, it *item) { e.doc.optional(ecsTypes[it.k.desc()]) },
	"file.accessed":        func(e *ecs, it *item) { e.fileTime(it, Accessed) },
	"file.created":         func(e *ecs, it *item) { e.fileTime(it, Created) },
	"file.ctime":           func(e *ecs, it *item) { e.fileTime(it, MetadataChanged) },
	"file.mtime":           func(e *ecs, it *item) { e.fileTime(it, Modified) },
	"lagan.data_type":      func(e *ecs, _ *item) { e.doc.text(e.v.kind.String()) },
	"lagan.macb":           func(e *ecs, it *item) { e.doc.maybe(macbNames[it.k.macb()], it.k.macb() != 0) },
	"lagan.timestamp_desc": func(e *ecs, it *item) { e.doc.text(it.k.desc().String()) },
	"message":              func(e *ecs, _ *item) { e.message() },
	"orchestrator.type":    func(e *ecs, _ *item) { e.doc.maybe("kubernetes", e.v.has(uint8(FieldKubernetesPodName))) },
	"related.hash":         func(e *ecs, _ *item) { e.related(nil, FieldSHA256Hash, FieldMD5Hash) },
	"related.ip":           func(e *ecs, _ *item) { e.related(isIP, FieldIPAddress, FieldSourceIP, FieldDestinationIPAddress) },
	"related.user":         func(e *ecs, _ *item) { e.related(nil, FieldUsername, FieldUserName) },
	"tags":                 func(e *ecs, _ *item) { e.tags() },
}

var ecsCategories = map[DataType]string{
	FSStat: "file", RecoveredFile: "file", SyslogSSHLogin: "authentication", SyslogSSHFailedConnection: "authentication", Utmp: "session",
	BashHistory: "process", ZshHistory: "process", ContainerExec: "process", KubernetesAudit: "api", CloudTrailEntry: "api", DpkgLog: "package",
	AptHistoryLog: "package", DnfLog: "package", RPMPackage: "package", ApacheAccessLog: "web", FalcoAlert: "intrusion_detection",
	GuardDutyFinding: "intrusion_detection", VPCFlow: "network",
}

var ecsTypes = map[Desc]string{
	Modified: "change", Accessed: "access", MetadataChanged: "change", Created: "creation", ContentDeleted: "deletion", Deleted: "deletion",
	Started: "start", Ended: "end", Installed: "installation", Updated: "change",
}

func (*ecs) header(dst []byte) []byte { return dst }

func (e *ecs) append(dst []byte, items []item) ([]byte, error) {
	for i := range items {
		if err := e.v.parse(items[i].rec, e.commons); err != nil {
			return dst, err
		}
		if err := e.v.index(); err != nil {
			return dst, err
		}
		e.v.kind = e.v.kind.known()
		e.document(&items[i])
		sum := sha256.Sum256(e.doc.b)
		dst = append(dst, `{"create":{"_index":"`+ecsIndex+`","_id":"`...)
		dst = hex.AppendEncode(dst, sum[:16])
		dst = append(dst, "\"}}\n"...)
		dst = append(append(dst, e.doc.b...), '\n')
	}
	return dst, nil
}

func (e *ecs) document(it *item) {
	e.doc.begin()
	for i := range ecsRows {
		r := &ecsRows[i]
		e.doc.at = r.path
		if r.made != nil {
			r.made(e, it)
			continue
		}
		for _, from := range r.from {
			if f, ok := e.v.find(from.field); ok && e.value(f, from.kind) {
				break
			}
		}
	}
	e.doc.end()
}

// value writes a field, and says whether it fits.
func (e *ecs) value(f field, kind ecsKind) bool {
	e.scratch = f.appendText(e.scratch[:0])
	switch kind {
	case asIs:
		e.doc.key()
		e.doc.b = f.appendValue(e.doc.b)
		return true
	case asNumber:
		n, err := strconv.ParseUint(string(e.scratch), 10, 62)
		if err != nil {
			return false
		}
		e.doc.key()
		e.doc.b = strconv.AppendUint(e.doc.b, n, 10)
		return true
	case asIP:
		if !isIP(string(e.scratch)) {
			return false
		}
	case asOctal:
		e.scratch = appendOctal(append(e.scratch[:0], '0'), f.num)
	case asList:
		e.doc.key()
		e.doc.b = append(f.appendValue(append(e.doc.b, '[')), ']')
		return true
	case asType:
		if t, ok := map[string]string{"directory": "dir", "link": "symlink"}[string(e.scratch)]; ok {
			e.scratch = append(e.scratch[:0], t...)
		}
	}
	e.doc.text(string(e.scratch))
	return true
}

func isIP(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == ""
}

func (e *ecs) time(it *item) {
	e.doc.key()
	e.clock.set(it.k.sec())
	e.doc.b = append(append(append(e.doc.b, '"'), e.clock.date[:]...), '.')
	e.doc.b = append(appendPadded(e.doc.b, it.k.nsec(), 9), `Z"`...)
}

func (e *ecs) fileTime(it *item, d Desc) {
	if it.k.desc() == d && e.v.kind == FSStat {
		e.time(it)
	}
}

func (e *ecs) message() {
	e.scratch, _ = e.v.message(e.scratch[:0])
	e.doc.text(string(e.scratch))
}

func (e *ecs) tags() {
	if f, ok := e.v.find(uint8(FieldTag)); ok {
		e.doc.key()
		e.doc.b = f.appendValue(e.doc.b)
	}
}

func (e *ecs) outcome() {
	if f, ok := e.v.find(uint8(FieldAuthenticationResult)); ok {
		outcome := "failure"
		if bytes.HasPrefix(bytes.ToLower(f.b), []byte("succ")) || bytes.EqualFold(f.b, []byte("accepted")) {
			outcome = "success"
		}
		e.doc.text(outcome)
	}
}

// related writes the different values of fields as a list.
func (e *ecs) related(fits func(string) bool, fields ...StringField) {
	var all []string
	for _, id := range fields {
		if f, ok := e.v.find(uint8(id)); ok {
			if s := string(f.appendText(nil)); (fits == nil || fits(s)) && !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
	}
	if len(all) == 0 {
		return
	}
	e.doc.key()
	separator := byte('[')
	for _, s := range all {
		e.doc.b = text.AppendJSON(append(e.doc.b, separator), s)
		separator = ','
	}
	e.doc.b = append(e.doc.b, ']')
}

// nest writes nested JSON objects whose keys come in the order of their paths.
type nest struct {
	b    []byte
	at   []string // the path that is to be written
	open []string // the objects that are open
	some bool     // the innermost has a key
}

func (n *nest) begin() { n.b, n.open, n.some = append(n.b[:0], '{'), n.open[:0], false }

func (n *nest) end() {
	n.close(0)
	n.b = append(n.b, '}')
}

// close leaves all but so many objects.
func (n *nest) close(keep int) {
	for len(n.open) > keep {
		n.b = append(n.b, '}')
		n.open = n.open[:len(n.open)-1]
		n.some = true
	}
}

// key writes the key of the path, and opens and closes objects on the way.
func (n *nest) key() {
	above, name := n.at[:len(n.at)-1], n.at[len(n.at)-1]
	same := 0
	for same < len(above) && same < len(n.open) && above[same] == n.open[same] {
		same++
	}
	n.close(same)
	for _, o := range above[same:] {
		n.name(o)
		n.b = append(n.b, '{')
		n.open = append(n.open, o)
		n.some = false
	}
	n.name(name)
	n.some = true
}

func (n *nest) name(s string) {
	if n.some {
		n.b = append(n.b, ',')
	}
	n.b = append(append(append(n.b, '"'), s...), `":`...)
}

func (n *nest) text(s string) {
	n.key()
	n.b = text.AppendJSON(n.b, s)
}

// maybe writes text if a condition holds, and optional a list of one if there is one.
func (n *nest) maybe(s string, holds bool) {
	if holds {
		n.text(s)
	}
}

func (n *nest) optional(s string) {
	if s != "" {
		n.key()
		n.b = append(text.AppendJSON(append(n.b, '['), s), ']')
	}
}
