package timeline

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"lagan/internal/needs"
)

// unescape undoes what a bodyfile does to names.
func unescape(s string) string {
	return regexp.MustCompile(`\\x[0-9a-f]{2}`).ReplaceAllStringFunc(s, func(x string) string {
		b, _ := strconv.ParseUint(x[2:], 16, 8)
		return string([]byte{byte(b)})
	})
}

func TestBodyfile(t *testing.T) {
	var pod, plainContainer, image Record
	pod.Reset(Unknown, nil)
	pod.String(FieldContainerID, "0123456789abcdef")
	pod.String(FieldKubernetesPodName, "web-0")
	pod.String(FieldKubernetesContainerName, "nginx")
	plainContainer.Reset(Unknown, nil)
	plainContainer.String(FieldContainerID, "0123456789abcdef")
	plainContainer.String(FieldContainerName, "db|1")
	image.Reset(Unknown, nil)
	image.String(FieldImageName, "nginx:1.25")
	image.String(FieldLayerDigest, "sha256:aa")
	tests := []struct {
		common *Common
		fill   func(*Record)
		want   string
	}{
		{nil, func(r *Record) {
			r.Path("NODE:", "/etc/passwd")
			r.File(RegularFile, 0o644)
			r.Uint(FieldInode, 12)
			r.Int(FieldFileSize, 1234)
			r.Int(FieldOwnerIdentifier, 1)
			r.Int(FieldGroupIdentifier, 2)
			r.Unix(Modified, 10, 999999999)
			r.Unix(Accessed, 20, 0)
			r.Unix(MetadataChanged, 30, 0)
			r.Unix(Created, 40, 0)
		}, "0|/etc/passwd|12|r/rrw-r--r--|1|2|1234|20|10|30|40"},
		{nil, func(r *Record) { r.Path("NODE:", "/d"); r.File(Directory, 0o1755); r.Unix(Modified, -2, 500000000) }, "0|/d|0|d/drwxr-xr-t|0|0|0|0|-2|0|0"},
		{pod.Common(), func(r *Record) {
			r.Path("CONTAINER:default/web-0/nginx:", "/a|b\\c\nd")
			r.File(Link, 0o777)
			r.String(FieldSymbolicLinkTarget, "../x\xff|")
		}, `0|[web-0/nginx]/a\x7cb\x5cc\x0ad -> ../x\xff\x7c|0|l/lrwxrwxrwx|0|0|0|0|0|0|0`},
		{plainContainer.Common(), func(r *Record) {
			r.Path("CONTAINER:db|1:", "/gone")
			r.File(Whiteout, 0)
			r.Bool(FieldIsAllocated, false)
			r.Unix(ContentDeleted, 77, 0)
		}, `0|[db\x7c1]/gone (deleted)|0|c/c---------|0|0|0|0|0|77|0`},
		{image.Common(), func(r *Record) { r.Path("", "/bin/\xffsh"); r.String(FieldMD5Hash, strings.Repeat("0a", 16)) },
			strings.Repeat("0a", 16) + `|[image nginx:1.25]/bin/\xffsh|0|-/----------|0|0|0|0|0|0|0`},
	}
	for _, test := range tests {
		got := write(t, Bodyfile, Options{}, func(add func(*Record)) {
			var r Record
			r.Reset(SyslogLine, nil)
			r.Unix(Recorded, 1, 0)
			add(&r) // not a file
			r.Reset(FSStat, test.common)
			test.fill(&r)
			add(&r)
		})
		if string(got) != test.want+"\n" {
			t.Errorf("got  %swant %s", got, test.want)
		}
	}
}

func TestHostileNamesInBodyfile(t *testing.T) {
	for _, name := range hostileNames() {
		got := write(t, Bodyfile, Options{}, func(add func(*Record)) {
			var r Record
			r.Reset(FSStat, nil)
			r.Path("NODE:", "/tmp/"+name)
			add(&r)
		})
		parts := strings.Split(strings.TrimSuffix(string(got), "\n"), "|")
		if len(parts) != 11 || unescape(parts[1]) != "/tmp/"+name {
			t.Errorf("%q came back as %q", name, got)
		}
		if !printableASCIIOrText(got[:len(got)-1]) {
			t.Errorf("%q has control characters", got)
		}
	}
}

func printableASCIIOrText(b []byte) bool {
	return !bytes.ContainsFunc(b, func(r rune) bool { return r < 0x20 || r == 0x7f || r == '\u202e' || r == '\u200b' })
}

// mactime (The Sleuth Kit) must read every line, and show each name.
func TestMactimeReadsBodyfile(t *testing.T) {
	mactime := needs.Tool(t, "mactime")
	names := hostileNames()
	body := write(t, Bodyfile, Options{}, func(add func(*Record)) {
		for i, name := range names {
			var r Record
			r.Reset(FSStat, nil)
			r.Path("NODE:", "/"+name)
			r.File(RegularFile, 0o644)
			r.Uint(FieldInode, uint64(i+100))
			r.Int(FieldFileSize, 5)
			for d := Modified; d <= Created; d++ {
				r.Unix(d, 1767323045, 0)
			}
			add(&r)
		}
	})
	file := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(mactime, "-b", file, "-d", "-z", "UTC").Output()
	if err != nil {
		t.Fatal(err)
	}
	for i := range names {
		line := regexp.MustCompile(`(?m)^.*2026.*,5,macb,r/rrw-r--r--,0,0,` + strconv.Itoa(i+100) + `,.*$`).Find(out)
		want := strings.Split(strings.Split(string(body), "\n")[i], "|")[1]
		if !bytes.Contains(line, []byte(strings.ReplaceAll(want, `"`, `""`))) {
			t.Errorf("mactime shows %q as %q", want, line)
		}
	}
}
