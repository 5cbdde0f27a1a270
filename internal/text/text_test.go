package text

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"
)

var texts = []string{
	"", "plain", "tab\tbreak\n\r", `"quoted" \x41`, "\x00\x1b[31m\x7f", "é e\u0301 日本語 😀", "\u202egpj", "a\u200bb", "\u2028\u2029", "\u115f\u3164\ufe0f\ufeff",
	"\U000e0041", "\u0085\u009b", "\u00a0\u3000", "\ufffd",
}

// TestAppendJSON checks that strings come back whole, and that nothing is
// printed that a terminal would act on or hide.
func TestAppendJSON(t *testing.T) {
	for _, s := range texts {
		quoted := AppendJSON(nil, s)
		var back string
		if err := json.Unmarshal(quoted, &back); err != nil || back != s {
			t.Errorf("%q: %s came back as %q, %v", s, quoted, back, err)
		}
		checkPrintable(t, quoted)
	}
}

func TestJSON(t *testing.T) {
	for _, s := range texts {
		var out bytes.Buffer
		if err := json.NewEncoder(JSON{&out}).Encode(map[string]string{s: s}); err != nil {
			t.Fatal(err)
		}
		var back map[string]string
		if err := json.Unmarshal(out.Bytes(), &back); err != nil || back[s] != s {
			t.Errorf("%q: %s came back as %q, %v", s, out.Bytes(), back, err)
		}
		checkPrintable(t, bytes.TrimSpace(out.Bytes()))
	}
}

func TestForTerminal(t *testing.T) {
	for _, s := range append(texts, "\xff", "a\x9bb", "\xed\xa0\x80") {
		checkPrintable(t, []byte(ForTerminal(s)))
	}
}

func FuzzText(f *testing.F) {
	for _, s := range texts {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		checkPrintable(t, []byte(ForTerminal(s)))
		s, _ = ForJSON(s)
		quoted := AppendJSON(nil, s)
		var back string
		if err := json.Unmarshal(quoted, &back); err != nil || back != s {
			t.Errorf("%q: %s came back as %q, %v", s, quoted, back, err)
		}
		checkPrintable(t, quoted)
	})
}

func checkPrintable(t *testing.T, b []byte) {
	t.Helper()
	for i, r := range string(b) {
		if _, n := utf8.DecodeRune(b[i:]); r == utf8.RuneError && n == 1 || r < 0x20 || r == 0x7f || r > 0x7f && !Printable(r) {
			t.Errorf("%q: %U is printed", b, r)
		}
	}
}
