package timeline

import (
	"bytes"
	"encoding/base64"
	stdcsv "encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rows reads CSV, and undoes the guard of cells.
func rows(tb testing.TB, b []byte) []map[string]string {
	tb.Helper()
	// The standard reader takes \r\n in a cell for \n: hide the \r from it.
	all, err := stdcsv.NewReader(bytes.NewReader(bytes.ReplaceAll(b, []byte("\r"), []byte("\ue000")))).ReadAll()
	if err != nil {
		tb.Fatalf("%v: %q", err, b)
	}
	var out []map[string]string
	for _, row := range all[1:] {
		m := map[string]string{}
		for i, cell := range row {
			cell = strings.ReplaceAll(cell, "\ue000", "\r")
			if regexp.MustCompile(`^'+[=+\-@\t\r]`).MatchString(cell) {
				cell = cell[1:]
			}
			m[all[0][i]] = cell
		}
		out = append(out, m)
	}
	return out
}

// story is a record of each shape.
func story(add func(*Record)) {
	var r Record
	r.Reset(Unknown, nil)
	r.String(FieldParser, "lagan/test")
	r.String(FieldContainerID, "c0ffee")
	r.String(FieldContainerName, "web, the first")
	r.String(FieldKubernetesPodName, "web-0")
	r.String(FieldImageDigest, "sha256:aa")
	c := r.Common()

	r.Reset(FSStat, c)
	r.Path("CONTAINER:web:", "/etc/passwd")
	r.File(RegularFile, 0o4644)
	r.Uint(FieldInode, 77)
	r.Int(FieldFileSize, 5)
	r.Int(FieldOwnerIdentifier, 0)
	r.Int(FieldGroupIdentifier, 10)
	r.String(FieldChangeKind, "modified")
	r.Strings(FieldTag, []string{"one", "two"})
	r.Template(ContainerFileMessage)
	r.Unix(Modified, 1767323045, 123456789)
	r.Unix(Created, 1767323045, 123456789)
	r.Unix(Accessed, 1767323046, 0)
	add(&r)

	r.Reset(SyslogSSHLogin, nil)
	r.Message("[sshd] [42]: Accepted publickey for =root, \"x\"\nfrom 10.0.0.1")
	r.String(FieldUsername, "=cmd|' /C calc'!A0")
	r.String(FieldIPAddress, "10.0.0.1")
	r.String(FieldPort, "51022")
	r.Int(FieldPID, 42)
	r.String(FieldAuthenticationResult, "success")
	r.Unix(Recorded, 1767323047, 0)
	add(&r)

	r.Reset(SyslogSSHFailedConnection, nil)
	r.Message("m")
	r.String(FieldIPAddress, "not an address")
	r.String(FieldPort, "http")
	r.Unix(Recorded, 1767323048, 0)
	add(&r)

	r.Gap(nil, "volume 1", "unreadable")
	add(&r)
}

func TestCSV(t *testing.T) {
	b := write(t, CSV, Options{}, story)
	header, _, _ := strings.Cut(string(b), "\n")
	want := csvFixed + ",display_name,filename,parser,record,object,reason,container_id,container_name,image_digest,kubernetes_pod_name," +
		"file_entry_type,inode,mode_as_string,change_kind,username,ip_address,port,authentication_result,file_size,mode,owner_identifier,group_identifier,pid,tag"
	if header != want {
		t.Errorf("header %s\nwant   %s", header, want)
	}
	asJSON := lines(t, write(t, JSONL, Options{}, story))
	got := rows(t, b)
	if len(got) != len(asJSON) || len(got) != 6 {
		t.Fatalf("%d rows, %d lines", len(got), len(asJSON))
	}
	for i, row := range got {
		for k, cell := range row {
			want := ""
			switch v := asJSON[i][k].(type) {
			case nil:
			case []any:
				b, _ := json.Marshal(v)
				want = string(b)
			default:
				want = fmt.Sprint(v)
			}
			if cell != want {
				t.Errorf("row %d, %s: %q, want %q", i, k, cell, want)
			}
		}
	}
	for line := range strings.Lines(string(b)) {
		for cell := range strings.SplitSeq(line, ",") {
			if strings.HasPrefix(cell, "=") {
				t.Errorf("a formula: %q", cell)
			}
		}
	}
}

func TestL2TCSV(t *testing.T) {
	b := write(t, L2TCSV, Options{}, story)
	want := `date,time,timezone,MACB,source,sourcetype,type,user,host,short,desc,version,filename,inode,notes,format,extra
01/01/1970,00:00:00,UTC,....,LAGAN,Gap in the evidence,Not a time,-,-,volume 1: unreadable,volume 1: unreadable,2,volume 1,-,-,-,display_name: volume 1; record: warning; object: volume 1; reason: unreadable
01/02/2026,03:04:05,UTC,M..B,FILE,File stat,Content Modification Time; Creation Time,-,-,CONTAINER:web:/etc/passwd Type: file Owner identifier: 0 Group identifier: 10...,CONTAINER:web:/etc/passwd Type: file Owner identifier: 0 Group identifier: 10 Mode: 0o4644 [modified layer],2,/etc/passwd,77,-,lagan/test,display_name: CONTAINER:web:/etc/passwd; container_id: c0ffee; container_name: web  the first; image_digest: sha256:aa; kubernetes_pod_name: web-0; file_entry_type: file; mode_as_string: -rwSr--r--; change_kind: modified; file_size: 5; mode: 2468; owner_identifier: 0; group_identifier: 10; tag: ["one" "two"]
01/02/2026,03:04:06,UTC,.A..,FILE,`
	if !strings.HasPrefix(string(b), want) {
		t.Errorf("%s", difference(string(b), want))
	}
	for line := range strings.Lines(string(b)) {
		if n := strings.Count(line, ","); n != 16 {
			t.Errorf("%d columns: %q", n+1, line)
		}
	}
	if !strings.Contains(string(b), ",'=cmd|' /C calc'!A0,") {
		t.Error("a formula is not guarded")
	}
}

func difference(got, want string) string {
	n := 0
	for n < len(got) && n < len(want) && got[n] == want[n] {
		n++
	}
	return fmt.Sprintf("differs at %d: %q, want %q", n, got[n:min(n+120, len(got))], want[n:min(n+120, len(want))])
}

// documents reads bulk NDJSON.
func documents(tb testing.TB, b []byte) (ids []string, docs []map[string]any) {
	tb.Helper()
	all := lines(tb, b)
	if len(all)%2 != 0 {
		tb.Fatalf("%d lines", len(all))
	}
	for i := 0; i < len(all); i += 2 {
		create := all[i]["create"].(map[string]any)
		if create["_index"] != ecsIndex {
			tb.Errorf("%v", create)
		}
		ids = append(ids, create["_id"].(string))
		docs = append(docs, all[i+1])
	}
	return ids, docs
}

// at returns a value of a document by its path.
func at(doc map[string]any, path string) string {
	var v any = doc
	for name := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return ""
		}
		v = m[name]
	}
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

func TestECS(t *testing.T) {
	b := write(t, ECS, Options{}, story)
	ids, docs := documents(t, b)
	if len(docs) != 6 || len(slices.Compact(slices.Sorted(slices.Values(ids)))) != 6 {
		t.Fatalf("%d documents, ids %q", len(docs), ids)
	}
	wants := []struct {
		doc   int
		path  string
		value string
	}{
		{0, "@timestamp", "1970-01-01T00:00:00.000000000Z"}, {0, "lagan.record", "warning"},
		{1, "@timestamp", "2026-01-02T03:04:05.123456789Z"}, {1, "file.mtime", "2026-01-02T03:04:05.123456789Z"}, {1, "file.created", ""},
		{1, "event.type", "[change]"}, {1, "event.category", "[file]"}, {1, "event.dataset", "lagan.fs:stat"}, {1, "event.provider", "lagan/test"},
		{1, "file.path", "/etc/passwd"}, {1, "file.mode", "04644"}, {1, "file.uid", "0"}, {1, "file.size", "5"}, {1, "file.inode", "77"}, {1, "file.type", "file"},
		{1, "container.id", "c0ffee"}, {1, "container.name", "web, the first"}, {1, "container.image.hash.all", "[sha256:aa]"},
		{1, "orchestrator.type", "kubernetes"}, {1, "orchestrator.resource.name", "web-0"}, {1, "tags", "[one two]"}, {1, "lagan.change_kind", "modified"},
		{1, "lagan.macb", "m..b"}, {2, "file.created", "2026-01-02T03:04:05.123456789Z"}, {3, "file.accessed", "2026-01-02T03:04:06.000000000Z"},
		{4, "source.ip", "10.0.0.1"}, {4, "source.port", "51022"}, {4, "process.pid", "42"}, {4, "event.outcome", "success"}, {4, "related.ip", "[10.0.0.1]"},
		{4, "related.user", "[=cmd|' /C calc'!A0]"}, {4, "user.name", "=cmd|' /C calc'!A0"}, {4, "ecs.version", ecsVersion},
		{5, "source.ip", ""}, {5, "source.port", ""}, {5, "related.ip", ""}, {5, "lagan.ip_address", "not an address"}, {5, "lagan.port", "http"},
	}
	for _, w := range wants {
		if got := at(docs[w.doc], w.path); got != w.value {
			t.Errorf("document %d: %s is %q, want %q", w.doc, w.path, got, w.value)
		}
	}
	if again := write(t, ECS, Options{Jobs: 1, Memory: 100, TempDir: t.TempDir()}, story); !bytes.Equal(again, b) {
		t.Error("other bytes the second time")
	}
}

// No field is lost on the way into a document.
func TestECSHasEveryField(t *testing.T) {
	_, docs := documents(t, write(t, ECS, Options{}, func(add func(*Record)) {
		var r Record
		r.Reset(FSStat, nil)
		for id := 1; id < numFields; id++ {
			switch {
			case id == int(FieldIPAddress) || id == int(FieldSourceIP) || id == int(FieldDestinationIPAddress):
				r.String(StringField(id), fmt.Sprint("10.0.0.", id))
			case typeOfField(id) == typeString:
				r.Uint(StringField(id), uint64(1000+id))
			case typeOfField(id) == typeInt:
				r.Int(IntField(id), int64(1000+id))
			default:
				set(&r, id)
			}
		}
		add(&r)
	}))
	doc, _ := json.Marshal(docs[0])
	for id := 1; id < numFields; id++ {
		if typ := typeOfField(id); typ == typeString && !bytes.Contains(doc, []byte(fmt.Sprintf(`"%d"`, 1000+id))) &&
			!bytes.Contains(doc, fmt.Appendf(nil, ":%d", 1000+id)) && !bytes.Contains(doc, fmt.Appendf(nil, `"10.0.0.%d"`, id)) {
			t.Errorf("%s is lost", fieldNames[id])
		}
	}
}

func TestHostileNamesInAllFormats(t *testing.T) {
	for _, name := range hostileNames() {
		path := "/" + name
		fill := func(add func(*Record)) {
			var r Record
			r.Reset(FSStat, nil)
			r.String(FieldUsername, name)
			r.Path("", path)
			r.Template(FileMessage)
			r.Unix(Modified, 5, 0)
			add(&r)
		}
		row := rows(t, write(t, CSV, Options{}, fill))[0]
		got := row["filename"]
		if raw := row["filename_raw"]; raw != "" {
			b, _ := base64.StdEncoding.DecodeString(raw)
			got = string(b)
		} else if row["username"] != name {
			t.Errorf("csv: %q came back as %q", name, row["username"])
		}
		if got != path {
			t.Errorf("csv: %q came back as %q", path, got)
		}
		_, docs := documents(t, write(t, ECS, Options{}, fill))
		got = at(docs[0], "file.path")
		if raw := at(docs[0], "lagan.filename_raw"); raw != "" {
			b, _ := base64.StdEncoding.DecodeString(raw)
			got = string(b)
		}
		if got != path {
			t.Errorf("ecs: %q came back as %q", path, got)
		}
		l2t := write(t, L2TCSV, Options{}, fill)
		if bytes.Count(l2t, []byte("\n")) != 2 || bytes.Count(l2t, []byte(",")) != 32 || !printableASCIIOrText(bytes.ReplaceAll(l2t, []byte("\n"), nil)) {
			t.Errorf("l2tcsv: %q", l2t)
		}
	}
}

// All formats in one pass are what each is on its own.
func TestSeveralOutputs(t *testing.T) {
	for _, memory := range []int64{0, 50 << 10} {
		outs := map[Format]*bytes.Buffer{}
		var outputs []Output
		for _, f := range Formats {
			outs[f] = &bytes.Buffer{}
			outputs = append(outputs, Output{outs[f], f})
		}
		w, err := NewWriter(Options{Memory: memory, TempDir: t.TempDir()}, outputs...)
		if err != nil {
			t.Fatal(err)
		}
		records := func(add func(*Record)) { shuffled(5, 900, add); benchRecords(300, add); story(add) }
		records(func(r *Record) {
			if err := w.Add(r); err != nil {
				t.Fatal(err)
			}
		})
		if err := w.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.Close()
		for _, f := range slices.Sorted(maps.Keys(outs)) {
			if want := write(t, f, Options{}, records); !bytes.Equal(outs[f].Bytes(), want) {
				t.Errorf("%s: other bytes with memory %d", f, memory)
			}
		}
	}
}

func FuzzFormats(f *testing.F) {
	for _, name := range hostileNames() {
		f.Add(name, "x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		fill := func(add func(*Record)) {
			var r Record
			r.Reset(SyslogLine, nil)
			r.Path(a, b)
			r.String(FieldUsername, a)
			r.String(FieldIPAddress, b)
			r.String(FieldPort, a)
			r.Strings(FieldTag, []string{a, b})
			r.Message(b)
			add(&r)
		}
		all, err := stdcsv.NewReader(bytes.NewReader(write(t, CSV, Options{}, fill))).ReadAll()
		if err != nil || len(all) != 2 {
			t.Errorf("csv: %v, %q", err, all)
		}
		if l := write(t, L2TCSV, Options{}, fill); bytes.Count(l, []byte("\n")) != 2 || bytes.Count(l, []byte(",")) != 32 {
			t.Errorf("l2tcsv: %q", l)
		}
		documents(t, write(t, ECS, Options{}, fill))
	})
}

func BenchmarkCSV(b *testing.B)    { benchmarkFormat(b, CSV) }
func BenchmarkL2TCSV(b *testing.B) { benchmarkFormat(b, L2TCSV) }
func BenchmarkECS(b *testing.B)    { benchmarkFormat(b, ECS) }
