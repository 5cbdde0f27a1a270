package jsonscan_test

import (
	"encoding/json"
	"strings"
	"testing"

	"lagan/internal/jsonscan"
	"lagan/internal/jsonscan/scantest"
)

// sample has a member of each kind.
type sample struct {
	Text   string            `json:"text"`
	Number int               `json:"number"`
	Big    int64             `json:"big"`
	Flag   bool              `json:"flag"`
	Texts  []string          `json:"texts"`
	Map    map[string]string `json:"map"`
	Object struct {
		Inner string `json:"inner"`
	} `json:"object"`
	Empty map[string]struct{} `json:"empty"`
}

var (
	sampleMembers = []string{"text", "number", "big", "flag", "texts", "map", "object", "empty"}
	objectMembers = []string{"inner"}
)

func (d *sample) Scan(s *jsonscan.Scanner) {
	s.Members(sampleMembers, func(name string) {
		switch name {
		case "text":
			s.Text(&d.Text)
		case "number":
			s.Int(&d.Number)
		case "big":
			s.Int64(&d.Big)
		case "flag":
			s.Bool(&d.Flag)
		case "texts":
			s.Texts(&d.Texts)
		case "map":
			s.TextMap(&d.Map)
		case "object":
			s.Members(objectMembers, func(string) { s.Text(&d.Object.Inner) })
		case "empty":
			m := make(map[string]struct{})
			if s.Map(func(key string) {
				s.Members(nil, nil)
				m[key] = struct{}{}
			}) {
				d.Empty = m
			}
		}
	})
}

func TestRead(t *testing.T) {
	for _, c := range []struct {
		doc  string
		read bool
	}{
		{`{}`, true},
		{` { "text" : "a" , "number" : -12, "big": 123456789012345678, "flag":true,"texts":["x","y"],"map":{"k":"v","":""},"object":{"inner":"z"},"empty":{"80/tcp":{}}} ` + "\n\t\r", true},
		{`{"text":null,"number":null,"big":null,"flag":null,"texts":null,"map":null,"object":null,"empty":null}`, true},
		{`{"texts":[null,"a"],"map":{"k":null},"empty":{"k":null}}`, true},
		{`{"big":9223372036854775807}`, true}, {`{"big":-9223372036854775807}`, true}, {`{"number":1700000000000000000}`, true},
		{`{"texts":[],"map":{},"object":{},"empty":{}}`, true},
		{`{"more":[1,2.5e-3,{"a":[true,false,null,"\u00e9\n"]},-0,0.1,[]],"text":"after"}`, true},
		{`{"text":"esc \"aped\" \u00e9 \ud83d\ude00 \ud800"}`, true},
		{`{"text":"é漢"}`, true},
		{"{\"text\":\"\xff\xfe\"}", true}, // becomes U+FFFD in both
		{`{"map":{"a":"1","a":"2"}}`, true},
		{`{"unknown":1,"unknown":2}`, true},
		{`{"text":"` + strings.Repeat("long enough for eight bytes at a time ", 9) + `"}`, true},

		{``, false}, {`null x`, false}, {`[]`, false}, {`{`, false}, {`{}}`, false}, {`{"text":"a"`, false}, {`{"text"}`, false}, {`{"text":}`, false},
		{`{"text":"a",}`, false}, {`{,}`, false}, {`{"texts":["a",]}`, false}, {`{"texts":["a" "b"]}`, false},
		{`{"text":1}`, false}, {`{"number":"1"}`, false}, {`{"number":1.0}`, false}, {`{"number":1e3}`, false}, {`{"number":01}`, false},
		{`{"number":-}`, false}, {`{"big":12345678901234567890}`, false}, {`{"big":9223372036854775808}`, false}, {`{"big":-9223372036854775808}`, false}, {`{"flag":truth}`, false}, {`{"flag":1}`, false},
		{`{"TEXT":"a"}`, false}, {`{"text":"a","text":"b"}`, false}, {`{"\u0074ext":"a"}`, false}, {"{\"te\u017ft\":1}", false},
		{`{"more":01}`, false}, {`{"more":1.}`, false}, {`{"more":.5}`, false}, {`{"more":1e}`, false}, {`{"more":"\x"}`, false}, {`{"more":"\u12g4"}`, false},
		{"{\"more\":\"a\nb\"}", false}, {"{\"text\":\"0123456789\x01\"}", false}, {`{"more":"open`, false}, {`{"more":nul}`, false},
		{`{"more":` + strings.Repeat("[", 100000), false},
		{`{"more":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}`, false}, // deeper than it goes
	} {
		if got := scantest.Same[sample](t, []byte(c.doc)); got != c.read {
			t.Errorf("%.60q: read is %v", c.doc, got)
		}
	}
}

// Every byte, at every place of a string.
func TestEveryByte(t *testing.T) {
	for c := range 256 {
		for at := range 20 {
			b := []byte(`{"text":"0123456789abcdefghij"}`)
			b[9+at] = byte(c)
			scantest.Same[sample](t, b)
		}
	}
}

func FuzzRead(f *testing.F) {
	scantest.Seeds(f, `{"text":"a\u00e9","number":-1,"big":2,"flag":true,"texts":["x"],"map":{"k":"v"},"object":{"inner":"z"},"empty":{"80/tcp":{}},"more":[1.5e3,{"a":[null]}]}`)
	f.Fuzz(func(t *testing.T, raw []byte) { scantest.Same[sample](t, raw) })
}

func BenchmarkRead(b *testing.B) {
	doc, _ := json.Marshal(map[string]any{"text": "a", "texts": []string{"x", "y"}, "more": strings.Repeat("SCMP_ACT_ALLOW ", 600)})
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		var d sample
		if !jsonscan.Read(doc, d.Scan) {
			b.Fatal("not read")
		}
	}
}
