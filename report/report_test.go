package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"lagan/findings"
	"lagan/internal/needs"
)

// hostile are names and lines that would act in a page that took them for more than text.
func hostile() []string {
	marks := []string{
		`<script>%s</script>`, `</script><script>%s</script>`, `</ScRiPt ><script>%s</script>`, `<!--<script>%s//-->`, `--><script>%s</script>`, `<img src=x onerror=%s>`,
		`"><img src=x onerror=%s>`, `'><svg onload=%s>`, `<svg><script>%s</script></svg>`, `<body onload=%s>`, `<iframe srcdoc="<script>%s</script>">`, `javascript:%s`,
		`" onmouseover="%s`, `' onfocus='%s' autofocus='`, `<a href="javascript:%s">x</a>`, `<details open ontoggle=%s>`, `<input autofocus onfocus=%s>`, `<video><source onerror=%s>`,
		`<style>@import "http://evil.example/x.css";</style>%s`, `<link rel=stylesheet href=http://evil.example/x.css>%s`, `<meta http-equiv=refresh content="0;url=http://evil.example/%s">`,
		`<base href=http://evil.example/>%s`, `<form action=http://evil.example/><button>%s</button></form>`, `<object data=http://evil.example/x>%s</object>`, `<embed src=http://evil.example/x>%s`,
		`${%s}`, `{{%s}}`, `{{data}}%s`, `{{script}}%s`, "`;%s//", `\";%s//`, `\u003cscript\u003e%s`, `&lt;script&gt;%s`, `&#60;script&#62;%s`, "\u2028%s\u2029", "\x00%s", "\xff\xfe%s", "\x1b]0;%s\x07",
		"a\nb%s", "\r\n\r\n<script>%s</script>", "\u202e%s", "\u200b\ufeff%s", `__proto__%s`, `constructor%s`, `toString%s`, `]]>%s`, `<![CDATA[%s]]>`, `<?xml version="1.0"?>%s`, `<math><mi xlink:href="javascript:%s">`,
		`<template><script>%s</script></template>`, `<noscript><p title="</noscript><img src=x onerror=%s>">`, `<textarea></textarea><script>%s</script>`, `<title></title><script>%s</script>`,
		`<p style="background:url(http://evil.example/%s)">`, `url(http://evil.example/%s)`, `http://evil.example/%s`, `//evil.example/%s`, `data:text/html,<script>%s</script>`, `vbscript:%s`, `../../%s`, `;expression(%s)`,
	}
	for i, m := range marks {
		marks[i] = strings.ReplaceAll(m, "%s", `document.documentElement.dataset.pwned=1`)
	}
	return marks
}

// sample is a report with s wherever evidence is shown, and n containers.
func sample(n int, s func(int) string) *Data {
	rule := &findings.Rule{ID: "x", Title: "Title", Description: "Description", FalsePositives: []string{"none"}, Tags: []string{"attack.t1059"}}
	d := &Data{Record: "report", Version: "test", Command: []string{"report", s(0)}, Evidence: []Disk{{Name: s(1), Format: "raw", Size: 1 << 30}}, System: System{Hostname: s(2), OS: s(3), NodeName: s(4), Cluster: s(5), Server: s(6)}}
	d.Counts = Counts{Containers: n, Findings: map[string]int{"high": n}}
	d.Timeline = Timeline{Kinds: []string{"files", s(4)}, Owners: []Owner{{Name: "the node", Container: -1}, {Name: "images", Container: -1}}}
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	for i := range n {
		x := Text(s(i))
		c := &findings.Container{ID: fmt.Sprintf("%064x", i), Name: x, Image: x, Pod: x, Namespace: x}
		var all findings.Collection
		all.Add(rule, "", findings.Evidence{Kind: "file", Place: x, Path: s(i), Container: c, Time: at.Add(time.Duration(i) * time.Minute), Field: "text", Value: s(i), Offset: -1, File: &findings.File{Target: s(i), Size: 5, SHA256: strings.Repeat("a", 64)}})
		f := all.Findings()[0]
		f.Severity = findings.High
		d.Findings = append(d.Findings, f.Record())
		d.Containers = append(d.Containers, Container{ID: c.ID, Name: x, Kind: "container", Runtime: "docker", State: x, Image: x, Command: x, Findings: []int{i}, Severity: "high", Added: 1})
		d.Pods = append(d.Pods, Pod{Namespace: x, Name: x, UID: x, Found: []string{x}, Containers: []int{i}, Gone: []string{x}})
		d.Images = append(d.Images, Image{ID: x, Names: []string{x}, Digest: x, Runtime: x})
		d.Timeline.Owners = append(d.Timeline.Owners, Owner{Name: x, Container: i})
		d.Changes = append(d.Changes, Changes{Container: i, Total: 1, Paths: []Change{{Path: "/" + x, Kind: "added", Mode: x, Type: "file"}}})
		d.Logins = append(d.Logins, Login{Time: "2026-11-22T09:00:00Z", Count: 1, Result: x, User: x, From: x, Place: x, Text: x})
		d.Commands = append(d.Commands, Command{Time: "2026-11-22T09:00:00Z", Via: x, User: x, Command: x, Owner: x, Place: x, Finding: true})
		d.Gaps = append(d.Gaps, Gap{Object: x, Message: x})
		d.Timeline.Cells = append(d.Timeline.Cells, [5]int64{at.Unix() + int64(i)*60, 60, 0, int64(i + 2), 3})
	}
	return d
}

func htmlOf(t *testing.T, d *Data) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteHTML(&b, d); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestHTML looks at the page as text: nothing of the data can end the element
// that holds it, and the policy names the hashes of what stands in the page.
func TestHTML(t *testing.T) {
	names := hostile()
	if len(names) < 60 {
		t.Fatalf("only %d hostile names", len(names))
	}
	page := string(htmlOf(t, sample(len(names), func(i int) string { return names[i%len(names)] })))
	const opening = `<script type="application/json" id="data">`
	_, rest, ok := strings.Cut(page, opening)
	data, _, ok2 := strings.Cut(rest, "</script>")
	if !ok || !ok2 {
		t.Fatal("the page has no data")
	}
	if strings.ContainsAny(data, "<>&\u2028\u2029") {
		t.Error("the data holds characters that mean something to HTML")
	}
	var back Data
	if err := json.Unmarshal([]byte(data), &back); err != nil {
		t.Fatal(err)
	}
	if got := back.Containers[5].Name; got != names[5] {
		t.Errorf("container %q comes back as %q", names[5], got)
	}
	if strings.Contains(page, "unsafe-inline") || !strings.Contains(page, source(script)) || !strings.Contains(page, source(style)) {
		t.Error("the policy does not name script and style by their hashes")
	}
	if n := strings.Count(page, "<script"); n != 2 {
		t.Errorf("the page has %d scripts, want the data and ours", n)
	}
	if n := regexp.MustCompile(`(innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|fetch\(|XMLHttpRequest|WebSocket|import\()`).FindString(script); n != "" {
		t.Errorf("the script uses %s", n)
	}
}

// browsersOwn are what the browser asks for by itself whatever page it shows.
var browsersOwn = regexp.MustCompile(`//[a-z0-9-]+\.(google|googleapis|gvt1|gstatic)\.com/`)

// chromium opens a page as a user's browser would and returns the page's elements
// when all is drawn. What the page says on its console, and each request, is an error.
func chromium(t *testing.T, file string, width, height int, more ...string) string {
	t.Helper()
	program := needs.Tool(t, "chromium")
	args := append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir=" + t.TempDir(), "--enable-logging=stderr", "--virtual-time-budget=3000", "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom", "--log-net-log=" + filepath.Join(t.TempDir(), "net.json"),
		fmt.Sprintf("--window-size=%d,%d", width, height),
	}, append(more, "file://"+file)...)
	var out, said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("chromium: %v\n%s", err, said.String())
	}
	for line := range strings.Lines(said.String()) {
		if strings.Contains(line, "CONSOLE") {
			t.Errorf("console: %s", line)
		}
	}
	for _, a := range args {
		if name, ok := strings.CutPrefix(a, "--log-net-log="); ok {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`"url":"https?://[^"]*"`).FindAll(b, -1) {
				if !browsersOwn.Match(m) {
					t.Errorf("request: %s", m)
				}
			}
		}
	}
	return out.String()
}

func ready(t *testing.T, dom string) int {
	t.Helper()
	m := regexp.MustCompile(`<html[^>]* data-ready="(\d+)"`).FindStringSubmatch(dom)
	if m == nil {
		t.Fatal("the page was not drawn to its end")
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// framed puts a page into a frame of a phone's width, which a window can't have.
func framed(t *testing.T, file string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "frame.html")
	if err := os.WriteFile(out, []byte(`<!doctype html><html data-ready="0"><iframe width=390 height=800 src="`+html.EscapeString(file)+`"></iframe>`), 0o644); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestHostileInBrowser opens the page of sixty hostile names, with everything
// unfolded as for printing: nothing of them is executed or asked for.
func TestHostileInBrowser(t *testing.T) {
	names := hostile()
	page := htmlOf(t, sample(len(names), func(i int) string { return names[i%len(names)] }))
	file := filepath.Join(t.TempDir(), "hostile.html")
	if err := os.WriteFile(file, page, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{file + "#f3", framed(t, file)} {
		dom := chromium(t, at, 1280, 900)
		ready(t, dom)
		if regexp.MustCompile(`<html[^>]*pwned`).MatchString(dom) {
			t.Error("a hostile name was executed")
		}
		if m := regexp.MustCompile(`<(img|iframe|object|embed|form|base|video|svg onload|link rel="?stylesheet)[ >][^>]*evil`).FindString(dom); m != "" {
			t.Errorf("a hostile name became an element: %s", m)
		}
	}
}

// TestLargeInBrowser is the page of a node with 500 containers and as many
// counts of events as a report holds.
func TestLargeInBrowser(t *testing.T) {
	needs.Time(t)
	d := sample(500, func(i int) string {
		return fmt.Sprintf("namespace-%d/some-deployment-7c5ddbdf54-%05d/container", i%20, i)
	})
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC).Unix()
	d.Timeline.Cells = nil
	for i := range int64(80_000) {
		d.Timeline.Cells = append(d.Timeline.Cells, [5]int64{start + i/50*600, 600, i % 2, i % 502, i%7 + 1})
	}
	for i := range d.Changes {
		for k := range 24 {
			d.Changes[i].Paths = append(d.Changes[i].Paths, Change{Path: fmt.Sprintf("/usr/lib/python3/dist-packages/module%d/file%d.py", k%5, k), Kind: "added", Mode: "-rw-r--r--", Size: 1000, Ctime: "2026-11-22T09:00:00Z"})
		}
	}
	page := htmlOf(t, d)
	if len(page) > 10<<20 {
		t.Errorf("the page has %d bytes, want at most 10 MiB", len(page))
	}
	file := filepath.Join(t.TempDir(), "large.html")
	if err := os.WriteFile(file, page, 0o644); err != nil {
		t.Fatal(err)
	}
	ms := ready(t, chromium(t, file, 1280, 900))
	t.Logf("%d bytes, drawn after %d ms", len(page), ms)
	const slow = 6000 // twice what is promised: other tests may run beside this one
	if ms > slow {
		t.Errorf("the page was drawn after %d ms", ms)
	}
}

func TestJSON(t *testing.T) {
	d := sample(2, func(int) string { return "</script>\u2028" })
	var b bytes.Buffer
	if err := WriteJSON(&b, d); err != nil {
		t.Fatal(err)
	}
	var back Data
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || back.Containers[1].Name != "</script>\u2028" {
		t.Errorf("%v: %q", err, back.Containers[1].Name)
	}
}
