package timeline

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// one returns the only line of a record.
func one(tb testing.TB, fill func(*Record)) map[string]any {
	tb.Helper()
	got := lines(tb, write(tb, JSONL, Options{}, func(add func(*Record)) {
		var r Record
		r.Reset(SyslogLine, nil)
		fill(&r)
		add(&r)
	}))
	if len(got) != 1 {
		tb.Fatalf("%d lines", len(got))
	}
	return got[0]
}

func TestTables(t *testing.T) {
	if numFields >= 256 {
		t.Fatal("field ids don't fit a byte")
	}
	key := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	seen := map[string]bool{}
	numbers := map[string]bool{}
	for id := 1; id < numFields; id++ {
		name := fieldNames[id]
		if !key.MatchString(name) || seen[name] {
			t.Errorf("field %d: %q", id, name)
		}
		seen[name] = true
		if typeOfField(id) == typeInt {
			numbers[name] = true
		}
	}
	for _, computed := range []string{"datetime", "timestamp", "timestamp_desc", "timestamp_nanoseconds", "macb", "data_type", "source_short", "source_long"} {
		if seen[computed] {
			t.Errorf("%s is a field, and computed too", computed)
		}
	}
	for _, name := range []string{"file_size", "mode", "owner_identifier", "group_identifier", "number_of_links", "pid", "exit_code", "offset", "layer_index", "restart_count"} {
		if !numbers[name] {
			t.Errorf("%s is not a number", name)
		}
		delete(numbers, name)
	}
	if len(numbers) > 0 {
		t.Errorf("numbers that Timesketch's index has as text: %v", numbers)
	}
	for k, d := range dataTypes[:kinds] {
		if d.name == "" || d.short == "" || d.long == "" {
			t.Errorf("data type %d has no name", k)
		}
	}
	for d, name := range descNames {
		if name == "" {
			t.Errorf("desc %d has no name", d)
		}
	}
}

func TestTimes(t *testing.T) {
	tests := []struct {
		sec                    int64
		nsec                   uint32
		datetime, micros, nano string
	}{
		{1767323045, 123456789, "2026-01-02T03:04:05.123457+00:00", "1767323045123457", "1767323045123456789"},
		{1767323045, 500, "2026-01-02T03:04:05.000001+00:00", "1767323045000001", "1767323045000000500"},
		{1767323045, 499, "2026-01-02T03:04:05.000000+00:00", "1767323045000000", "1767323045000000499"},
		{1767323045, 999999500, "2026-01-02T03:04:06.000000+00:00", "1767323046000000", "1767323045999999500"},
		{0, 0, "1970-01-01T00:00:00.000000+00:00", "0", "0"},
		{0, 7, "1970-01-01T00:00:00.000000+00:00", "0", "7"},
		{0, 123000, "1970-01-01T00:00:00.000123+00:00", "123", "123000"},
		{-1, 0, "1969-12-31T23:59:59.000000+00:00", "-1000000", "-1000000000"},
		{-1, 999999999, "1970-01-01T00:00:00.000000+00:00", "0", "-1"},
		{-1, 999999500, "1970-01-01T00:00:00.000000+00:00", "0", "-500"},
		{-1, 999999499, "1969-12-31T23:59:59.999999+00:00", "-1", "-501"},
		{-60000001, 5, "1968-02-06T13:19:59.000000+00:00", "-60000001000000", "-60000000999999995"},
		{4102444800, 123456789, "2100-01-01T00:00:00.123457+00:00", "4102444800123457", "4102444800123456789"},
		{951782400, 0, "2000-02-29T00:00:00.000000+00:00", "951782400000000", "951782400000000000"},
		{minSec, 0, "0001-01-01T00:00:00.000000+00:00", "-62135596800000000", "-62135596800000000000"},
		{maxSec, maxNsec, "9999-12-31T23:59:59.999999+00:00", "253402300799999999", "253402300799999999499"},
	}
	for _, test := range tests {
		e := one(t, func(r *Record) { r.Unix(Recorded, test.sec, test.nsec) })
		if e["datetime"] != test.datetime || e["timestamp"].(json.Number).String() != test.micros || e["timestamp_nanoseconds"] != test.nano || e["time_assumption"] != nil {
			t.Errorf("%d.%09d: %v %v %v", test.sec, test.nsec, e["datetime"], e["timestamp"], e["timestamp_nanoseconds"])
		}
	}
}

func TestDatesAgreeWithTime(t *testing.T) {
	var c clock
	for sec := int64(minSec); sec <= maxSec; sec += 86400*29 + 3607 {
		want := time.Unix(sec, 0).UTC().Format("2006-01-02T15:04:05") + ".000042+00:00"
		if got := string(c.appendDate(nil, sec, 42)); got != want {
			t.Fatalf("%d: %s, want %s", sec, got, want)
		}
	}
}

func TestTimeOutOfRange(t *testing.T) {
	for sec, want := range map[int64]string{
		maxSec + 1: "9999-12-31T23:59:59.999999+00:00",
		1 << 62:    "9999-12-31T23:59:59.999999+00:00",
		minSec - 1: "0001-01-01T00:00:00.000000+00:00",
		-1 << 63:   "0001-01-01T00:00:00.000000+00:00",
	} {
		e := one(t, func(r *Record) { r.Unix(Accessed, sec, 5) })
		if note, _ := e["time_assumption"].(string); e["datetime"] != want || !strings.HasPrefix(note, "Last Access Time is ") {
			t.Errorf("%d: %v: %v", sec, e["datetime"], e["time_assumption"])
		}
	}
	last := one(t, func(r *Record) { r.Time(Accessed, time.Unix(maxSec, 999_999_999)) })
	if last["datetime"] != "9999-12-31T23:59:59.999999+00:00" {
		t.Errorf("rounded into the year 10000: %v", last)
	}
}

func TestNoTimeIsNotLost(t *testing.T) {
	e := one(t, func(r *Record) { r.Time(Modified, time.Time{}); r.Message("m") })
	if e["timestamp_desc"] != "Not a time" || e["datetime"] != "1970-01-01T00:00:00.000000+00:00" || e["message"] != "m" {
		t.Error(e)
	}
}

func TestMACB(t *testing.T) {
	t1, t2 := time.Unix(100, 1), time.Unix(200, 0)
	got := lines(t, write(t, JSONL, Options{}, func(add func(*Record)) {
		var r Record
		r.Reset(FSStat, nil)
		r.Time(Modified, t1)
		r.Time(Accessed, t2)
		r.Time(MetadataChanged, t1)
		r.Time(Created, t1.Add(1))
		r.Time(ContentDeleted, t1)
		r.Time(Modified, t1) // twice the same
		add(&r)
	}))
	var all []string
	for _, e := range got {
		m, _ := e["macb"].(string)
		all = append(all, m+" "+e["timestamp_desc"].(string))
	}
	want := []string{"m.c. Content Modification Time", "m.c. Metadata Modification Time", " Content Deletion Time", "...b Creation Time", ".a.. Last Access Time"}
	if !slices.Equal(all, want) {
		t.Errorf("%q", all)
	}
}

func TestFields(t *testing.T) {
	e := one(t, func(r *Record) {
		r.String(FieldUsername, "")
		r.String(FieldHostname, "first")
		r.String(FieldHostname, "second")
		r.Uint(FieldInode, 1<<63)
		r.Uint(FieldPort, 22)
		r.Int(FieldExitCode, -9)
		r.Int(FieldOffset, 0)
		r.Bool(FieldPrivileged, false)
		r.Strings(FieldTag, []string{"a-b", "c:ö", ""})
		r.Strings(FieldAttributeNames, []string{"user.\xff", `user."q"`})
		r.Strings(FieldIPAddresses, nil)
		r.String(FieldSHA256Hash, "sha256:"+strings.Repeat("0f", 32))
		r.Bytes(FieldMessageBody, []byte("tab\t nul\x00 \u2028 \x7f ü"))
		r.Unix(Recorded, 1, 0)
	})
	want := map[string]string{
		"hostname": `"first"`, "inode": `"9223372036854775808"`, "port": `"22"`, "exit_code": "-9", "offset": "0", "privileged": "false",
		"tag": `["a_b","c__"]`, "attribute_names": `["user.\\xff","user.\"q\""]`, "sha256_hash": `"` + strings.Repeat("0f", 32) + `"`,
		"message_body": `"tab\t nul\u0000 \u2028 ` + "\x7f" + ` ü"`, "data_type": `"syslog:line"`, "message": `"syslog:line"`, "timestamp_desc": `"Recorded Time"`,
		"source_short": `"LOG"`, "source_long": `"Log File"`, "datetime": `"1970-01-01T00:00:01.000000+00:00"`, "timestamp": "1000000", "timestamp_nanoseconds": `"1000000000"`,
	}
	for k, v := range e {
		b, _ := json.Marshal(v)
		if string(b) != want[k] {
			t.Errorf("%s: %s, want %s", k, b, want[k])
		}
		delete(want, k)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

func TestLongText(t *testing.T) {
	long := strings.Repeat("ö", 20000)
	path := "/" + strings.Repeat("p", 40000)
	e := one(t, func(r *Record) {
		r.Path("NODE:", path)
		r.Message(long)
		r.String(FieldCommand, strings.Repeat("\xff", 10000))
	})
	for k, v := range e {
		if s, ok := v.(string); ok && (len(s) > maxText || !utf8.ValidString(s)) {
			t.Errorf("%s has %d bytes", k, len(s))
		}
	}
	if e["truncated"] != true || len(e["message"].(string)) != maxText || len(e["filename"].(string)) != maxText || len(e["command"].(string)) != maxText {
		t.Error("not cut, or not said")
	}
	e = one(t, func(r *Record) { r.Path("NODE:", path[:31990]); r.Int(FieldMode, 0o644); r.Template(FileMessage) })
	if len(e["message"].(string)) != maxText || e["truncated"] != true {
		t.Errorf("a template's message: %d bytes", len(e["message"].(string)))
	}
	e = one(t, func(r *Record) { r.Path("NODE:", strings.Repeat("\xff", 50000)) })
	if raw := e["filename_raw"].(string); len(raw) > maxText || e["truncated"] != true {
		t.Errorf("%d bytes of filename_raw", len(raw))
	}
	many := make([]string, 5000)
	for i := range many {
		many[i] = "user.attribute"
	}
	e = one(t, func(r *Record) { r.Strings(FieldAttributeNames, many) })
	if e["truncated"] != true {
		t.Error("a long list is not cut")
	}
}

func TestTemplates(t *testing.T) {
	file := func(r *Record) {
		r.Path("CONTAINER:web:", `/a"b`)
		r.File(Directory, 0o1777)
		r.Int(FieldOwnerIdentifier, 0)
		r.Int(FieldGroupIdentifier, 1000)
		r.Int(FieldNumberOfLinks, 2)
	}
	e := one(t, func(r *Record) { file(r); r.Template(FileMessage) })
	if e["message"] != `CONTAINER:web:/a"b Type: directory Owner identifier: 0 Group identifier: 1000 Mode: 0o1777 Number of links: 2` || e["mode_as_string"] != "drwxrwxrwt" {
		t.Error(e["message"], e["mode_as_string"])
	}
	e = one(t, func(r *Record) {
		file(r)
		r.String(FieldChangeKind, "added")
		r.String(FieldLayerSource, "upper")
		r.Template(ContainerFileMessage)
	})
	if m := e["message"].(string); !strings.HasSuffix(m, "Number of links: 2 [added, upper layer]") {
		t.Error(m)
	}
	e = one(t, func(r *Record) { r.String(FieldDisplayName, "x"); r.Int(FieldMode, 0o4); r.Template(FileMessage) })
	if e["message"] != "x Mode: 0o004" {
		t.Error(e["message"])
	}
	e = one(t, func(r *Record) { r.String(FieldDisplayName, "x"); r.Message("own"); r.Template(FileMessage) })
	if e["message"] != "own" {
		t.Error(e["message"])
	}
}

func TestModeString(t *testing.T) {
	for want, in := range map[string]struct {
		t    FileType
		perm uint16
	}{
		"-rwsr-xr-x": {RegularFile, 0o4755}, "-rwSr--r--": {RegularFile, 0o4644}, "drwxr-sr-x": {Directory, 0o2755},
		"drwxrwxrwt": {Directory, 0o1777}, "lrwxrwxrwx": {Link, 0o777}, "c---------": {Whiteout, 0}, "b-w--w--w-": {BlockDevice, 0o222},
		"p-----S--T": {Pipe, 0o3000}, "srw-rw-rw-": {Socket, 0o666}, "----------": {FileType(99), 0},
	} {
		if got := string(appendMode(nil, in.t, in.perm)); got != want {
			t.Errorf("%v: %s, want %s", in, got, want)
		}
	}
}

func TestCommon(t *testing.T) {
	got := lines(t, write(t, JSONL, Options{}, func(add func(*Record)) {
		var r Record
		r.Reset(Unknown, nil)
		r.String(FieldDisplayName, "NODE:/var/log/x")
		r.String(FieldFilename, "/var/log/x")
		r.String(FieldHostname, "node")
		r.String(FieldContainerID, "c\xff")
		c := r.Common()
		r.Reset(SyslogLine, c)
		r.Message("one")
		r.Unix(Recorded, 1, 0)
		add(&r)
		r.Reset(Utmp, c)
		r.String(FieldHostname, "elsewhere")
		r.Unix(Recorded, 2, 0)
		add(&r)
		r.Reset(FSStat, c)
		r.Path("NODE:", "/own")
		r.Unix(Recorded, 3, 0)
		add(&r)
	}))
	want := [][3]string{{"one", "node", "/var/log/x"}, {"NODE:/var/log/x", "elsewhere", "/var/log/x"}, {"NODE:/own", "node", "/own"}}
	for i, e := range got {
		if e["message"] != want[i][0] || e["hostname"] != want[i][1] || e["filename"] != want[i][2] || e["container_id"] != `c\xff` {
			t.Errorf("%d: %v", i, e)
		}
	}
}

func TestNoKeyTwice(t *testing.T) {
	b := write(t, JSONL, Options{}, func(add func(*Record)) {
		var r Record
		for _, own := range []bool{false, true} {
			r.Reset(Unknown, nil)
			for id := 1; id < numFields; id++ {
				set(&r, id)
			}
			c := r.Common()
			r.Reset(Unknown, c)
			if own {
				for id := 1; id < numFields; id += 2 {
					set(&r, id)
				}
			}
			add(&r)
		}
	})
	for line := range bytes.Lines(b) {
		d := json.NewDecoder(bytes.NewReader(line))
		seen := map[string]bool{}
		depth, isKey := 0, true
		for {
			tok, err := d.Token()
			if err != nil {
				break
			}
			if delim, ok := tok.(json.Delim); ok {
				if delim == '[' || delim == '{' {
					depth++
				} else {
					depth--
				}
				isKey = true
				continue
			}
			if depth != 1 {
				continue
			}
			if isKey {
				k := tok.(string)
				if seen[k] {
					t.Errorf("%s twice", k)
				}
				seen[k] = true
			}
			isKey = !isKey
		}
		if len(seen) != numFields-1+8 && len(seen) != numFields-1+7 { // without macb, and without truncated
			t.Errorf("%d keys of %d", len(seen), numFields-1)
		}
	}
}

// set gives a field some value.
func set(r *Record, id int) {
	switch typeOfField(id) {
	case typeString:
		r.String(StringField(id), "value of "+fieldNames[id])
	case typeInt:
		r.Int(IntField(id), int64(id))
	case typeBool:
		r.Bool(BoolField(id), true)
	case typeList:
		r.Strings(ListField(id), []string{"a", "b"})
	}
}

func TestGap(t *testing.T) {
	var r Record
	e := lines(t, write(t, JSONL, Options{}, func(add func(*Record)) {
		r.Gap(nil, "volume 2, inode 77", "reading directory: block 0x4000: corrupt")
		add(&r)
	}))[0]
	for k, v := range map[string]string{"record": "warning", "data_type": "lagan:warning", "timestamp_desc": "Not a time", "datetime": "1970-01-01T00:00:00.000000+00:00",
		"message": "volume 2, inode 77: reading directory: block 0x4000: corrupt", "object": "volume 2, inode 77"} {
		if e[k] != v {
			t.Errorf("%s: %v", k, e[k])
		}
	}
}

// hostileNames are names that break readers of one format or another.
func hostileNames() []string {
	names := []string{
		"\xff\xfe-bad", "new\nline", "tab\tand\x1b[31mred", "naïve-文件-🐳", " leading", "trailing ", "-rf", `back\slash`, strings.Repeat("n", 255), `q"uote`,
		"|pipe|", "a|b\nc|d", "=1+1", "+1", "-1", "@SUM(A1)", "'quoted", "'=x", "''=x", "comma,comma", "semi;colon", "\r", "\r\n", "cr\rlf\n", "\t", "\x7f", "\x01\x02\x03",
		"\u202egnp.exe", "\u200bzero", "\u2028line", "\u2029para", "\u0085next", "\ufeffbom", "\ufffd", "\xc3\x28", "\xed\xa0\x80", "\xf0\x9f\x90", "\xc0\xaf", "a\xffb\xfec",
		`\xff`, `\x5cxff`, `\\`, `\n`, "{display_name}", "{}", "[x]", "<b>", "&amp;", "%s%n", "$(id)", "`id`", "* -> ?", "a -> b", "x (deleted)", "..", "...", " ", "0", "null", "true",
		`{"create":{}}`, "\U0001F468\u200d\U0001F469", "e\u0301", "\x1b]0;title\x07", "NODE:/etc", "#comment", strings.Repeat("\xff", 255), "last",
	}
	return names
}

func TestHostileNamesInJSON(t *testing.T) {
	names := hostileNames()
	if len(names) < 60 {
		t.Fatalf("%d names", len(names))
	}
	for _, name := range names {
		path := "/tmp/" + name
		e := one(t, func(r *Record) {
			r.Path("NODE:", path)
			r.File(Link, 0o777)
			r.String(FieldSymbolicLinkTarget, name)
			r.Template(FileMessage)
			r.Unix(Modified, 5, 0)
		})
		got := e["filename"].(string)
		if raw, ok := e["filename_raw"].(string); ok {
			b, err := base64.StdEncoding.DecodeString(raw)
			if err != nil {
				t.Error(err)
			}
			got = string(b)
		}
		if got != path {
			t.Errorf("%q came back as %q", path, got)
		}
		if m := e["message"].(string); !strings.HasPrefix(m, e["display_name"].(string)+" Type: link") {
			t.Errorf("%q", m)
		}
	}
}

func FuzzRecord(f *testing.F) {
	for _, name := range hostileNames() {
		f.Add("NODE:", "/"+name, name, int64(1), uint32(5), uint64(7))
	}
	f.Fuzz(func(t *testing.T, prefix, path, value string, sec int64, nsec uint32, n uint64) {
		var common Record
		common.Reset(Unknown, nil)
		common.String(FieldHostname, value)
		common.String(FieldDisplayName, path)
		c := common.Common()
		fill := func(r *Record) {
			r.Reset(FSStat, c)
			r.Path(prefix, path)
			r.File(FileType(n), uint16(n))
			r.Uint(FieldInode, n)
			r.Int(FieldFileSize, sec)
			r.Int(FieldOffset, int64(n))
			r.Strings(FieldTag, []string{value, prefix})
			r.Strings(FieldAttributeNames, []string{value, prefix})
			r.String(FieldSymbolicLinkTarget, value)
			r.Template(ContainerFileMessage)
			r.Unix(Desc(n%20), sec, nsec)
			r.Unix(Modified, sec/2, nsec/2)
		}
		var r Record
		b := write(t, JSONL, Options{}, func(add func(*Record)) { fill(&r); add(&r) })
		if !utf8.Valid(b) {
			t.Fatalf("not UTF-8: %q", b)
		}
		for _, e := range lines(t, b) {
			if raw, ok := e["filename_raw"].(string); ok {
				if got, err := base64.StdEncoding.DecodeString(raw); err != nil || len(path) < 20000 && string(got) != path {
					t.Errorf("filename_raw is %q", got)
				}
			} else if path != "" && e["truncated"] == nil && e["filename"] != path {
				t.Errorf("filename is %q, not %q", e["filename"], path)
			}
			if e["message"] == "" || e["datetime"] == nil {
				t.Errorf("%v", e)
			}
		}
		body := write(t, Bodyfile, Options{}, func(add func(*Record)) { fill(&r); add(&r) })
		if bytes.Count(body, []byte("\n")) != 1 || bytes.Count(body, []byte("|")) != 10 {
			t.Errorf("bodyfile: %q", body)
		}
	})
}
