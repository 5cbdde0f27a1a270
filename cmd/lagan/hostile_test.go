package main

import (
	"archive/tar"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// hostileNames are file names that an attacker may choose: what acts on a
// terminal, hides or turns text, ends a field of a format, begins a formula or
// an option, looks like an escape of ours, or isn't text at all.
var hostileNames = []string{
	"\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x1b]8;;http:e\x1b\\link", "\x1b[2J", "\x1bc", "\u009b31m", "\x9b31m", "\x07bell", "back\x08\x08", "\x7fdel",
	"line\nbreak", "carriage\rreturn", "tab\tstop", "\x0bvertical", "\x0cform", "\x01\x02\x03", "\u0085next", "line\u2028sep", "para\u2029sep", "\u00adsoft",
	"gnp\u202etxt.exe", "\u202d\u202c", "\u2066iso\u2069", "\u200fmark", "\u061cmark", "zero\u200bwidth", "\u200djoin", "\ufeffbom", "\u2060word", "\u180emongol",
	"\U000e0041tag", "\u3164filler", "\u115fjamo", "e\u0301", "\u00e9", "\ufffd", "\xff\xfe", "\xc3\x28", "\xed\xa0\x80", "\xf4\x90\x80\x80",
	`\x41`, `\\x41`, `\n`, "=cmd|'C calc'!A0", "+1+1", "-rf", "--help", "@SUM(1)", "a|b|c", "a,b,c",
	`"quoted"`, "'single'", "<img src=x onerror=alert(1)>", "&amp;", "$(id)", "`id`", "%s%n%x", " lead", "trail ", strings.Repeat("n", 255),
	".wh.hidden", "..data", "{{.}}", "*", "a:b",
}

// hostileLines are log lines of the same kind.
var hostileLines = func() []string {
	lines := []string{
		"", " ", "\x1b[1A\x1b[2K", "\x1b]52;c;cm0gLXJm\x07", strings.Repeat("x", 70000), `{"log":"fake"}`, "2026-01-01T00:00:00Z stdout F fake",
		"\x00\x00", "Accepted password for root from 192.0.2.1 port 1 ssh2\nAccepted", "</script><img src=x onerror=alert(1)>",
	}
	return append(lines, hostileNames[:30]...)
}()

const hostileID = "aaaabbbbccccddddeeeeffff0000111122223333444455556666777788889999"

// hostileRoot is Docker's data root with one container: its files have the
// hostile names, its log the hostile lines, its record hostile texts.
func hostileRoot(t *testing.T) string {
	root := t.TempDir()
	hostileIn(t, root)
	return root
}

// hostileIn makes that data root below a folder.
func hostileIn(t *testing.T, root string) {
	t.Helper()
	write := func(name string, content []byte) {
		t.Helper()
		name = filepath.Join(root, "var/lib/docker", name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text := "x\x1b[31m\u202e\u200b\r\nx"
	config, err := json.Marshal(map[string]any{
		"ID": hostileID, "Name": "/" + text, "Driver": "overlay2", "Created": "2026-01-02T03:04:05.000000006Z", "Image": "sha256:" + hostileID,
		"Config": map[string]any{"Image": text, "Hostname": text, "Cmd": []string{text, "=1+1"}, "Env": []string{text}, "Labels": map[string]string{text: text}},
		"State":  map[string]any{"Running": true, "Pid": 7, "StartedAt": "2026-01-02T03:04:06Z", "Error": text},
	})
	if err != nil {
		t.Fatal(err)
	}
	write("containers/"+hostileID+"/config.v2.json", config)
	write("containers/"+hostileID+"/hostconfig.json", []byte(`{"LogConfig":{"Type":"json-file"}}`))
	var log bytes.Buffer
	for i, l := range hostileLines {
		b, err := json.Marshal(map[string]string{"log": l + "\n", "stream": "stdout", "time": fmt.Sprintf("2026-01-02T03:04:%02dZ", i)})
		if err != nil {
			t.Fatal(err)
		}
		log.Write(append(b, '\n'))
	}
	write("containers/"+hostileID+"/"+hostileID+"-json.log", log.Bytes())
	write("image/overlay2/layerdb/mounts/"+hostileID+"/mount-id", []byte(hostileID))
	write("overlay2/"+hostileID+"/link", []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
	for _, n := range hostileNames {
		write("overlay2/"+hostileID+"/diff/d/"+n, []byte(n))
	}
}

func TestHostileCounts(t *testing.T) {
	if len(hostileNames) < 60 || len(hostileLines) < 40 {
		t.Errorf("%d names, %d lines: 60 and 40 are promised", len(hostileNames), len(hostileLines))
	}
}

// lagan runs a command that must succeed, or end with gaps.
func lagan(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(t.Context(), args, &out, &errs); code != exitOK && code != exitPartial {
		t.Fatalf("lagan %q: exit %d: %s", args, code, errs.String())
	}
	if i := unsafeAt(errs.String()); i >= 0 {
		t.Errorf("lagan %q: standard error holds %q", args, around(errs.String(), i))
	}
	return out.String()
}

// unsafeAt finds what a terminal would act on, or hide, beside line breaks.
func unsafeAt(s string) int {
	for i, r := range s {
		_, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\n', r == '\t':
		case r == utf8.RuneError && size == 1, unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == '\u2028', r == '\u2029', r == '\u3164', r == '\u115f':
			return i
		}
	}
	return -1
}

func around(s string, i int) string { return s[max(i-20, 0):min(i+20, len(s))] }

// TestHostileText runs every command that prints for people over hostile names.
func TestHostileText(t *testing.T) {
	root := hostileRoot(t)
	id := hostileID[:12]
	for _, args := range [][]string{
		{"info", root}, {"containers", root}, {"containers", root, "--wide"}, {"images", root}, {"pods", root}, {"snapshots", root}, {"volumes", root},
		{"networks", root}, {"tasks", root}, {"swarm", root}, {"plugins", root}, {"builds", root}, {"inspect", root, id}, {"inspect", root, id, "--docker"}, {"ls", root, id, "-R"}, {"ls", root, id, "/d"},
		{"ls", root, "@node", "-R"}, {"diff", root, id}, {"logs", root, id}, {"recover", root}, {"which", root, "/var/lib/docker/overlay2/" + hostileID + "/diff/d"},
		{"timeline", root, "--format", "l2tcsv"}, {"timeline", root, "--format", "bodyfile"}, {"verify", root},
	} {
		out := lagan(t, args...)
		if i := unsafeAt(out); i >= 0 && args[0] != "logs" { // logs print what the container did: a pipe gets its bytes
			t.Errorf("lagan %q prints %q", args, around(out, i))
		}
	}
}

// TestHostileRoundTrip reads every name back from each format.
func TestHostileRoundTrip(t *testing.T) {
	root := hostileRoot(t)
	id := hostileID[:12]
	var want []string
	for _, n := range hostileNames {
		want = append(want, "/d/"+n)
	}
	slices.Sort(want)
	for _, args := range [][]string{{"ls", root, id, "-R"}, {"diff", root, id}} {
		got := namesOfJSON(t, lagan(t, append(args, "--output", "jsonl")...))
		if !slices.Equal(got, want) {
			t.Errorf("%s: read back %q, want %q", args[0], got, want)
		}
		checkGuarded(t, lagan(t, append(args, "--output", "csv")...))
	}
	got := namesOfTar(t, lagan(t, "export", root, id))
	if !slices.Equal(got, want) {
		t.Errorf("tar: read back %q, want %q", got, want)
	}
	for line := range strings.Lines(lagan(t, "timeline", root, "--format", "bodyfile")) {
		if n := strings.Count(line, "|"); n != 10 {
			t.Errorf("bodyfile: %d separators in %q", n, line)
		}
	}
	checkGuarded(t, lagan(t, "timeline", root, "--format", "csv"))
	for line := range strings.Lines(lagan(t, "timeline", root, "--format", "l2tcsv")) {
		if n := strings.Count(line, ","); n != 16 {
			t.Errorf("l2tcsv: %d separators in %q", n, line)
		}
	}
	for line := range strings.Lines(lagan(t, "timeline", root)) {
		if !json.Valid([]byte(line)) || !utf8.ValidString(line) {
			t.Errorf("timeline: not JSON: %q", line)
		}
	}
}

func namesOfJSON(t *testing.T, out string) []string {
	var names []string
	for line := range strings.Lines(out) {
		var r struct {
			Path    string `json:"path"`
			PathRaw []byte `json:"path_raw"`
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if r.PathRaw != nil {
			r.Path = string(r.PathRaw)
		}
		if strings.HasPrefix(r.Path, "/d/") {
			names = append(names, r.Path)
		}
	}
	slices.Sort(names)
	return names
}

func namesOfTar(t *testing.T, out string) []string {
	var names []string
	for r := tar.NewReader(strings.NewReader(out)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(h.Name, "d/") && h.Typeflag == tar.TypeReg {
			names = append(names, "/"+h.Name)
		}
	}
	slices.Sort(names)
	return names
}

// checkGuarded reads a CSV and finds cells that a spreadsheet would run.
func checkGuarded(t *testing.T, out string) {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		for _, cell := range row {
			if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) && len(cell) > 1 {
				t.Errorf("csv: a cell begins a formula: %q", cell)
			}
		}
	}
}
