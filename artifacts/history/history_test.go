package history

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/internal/needs"
)

func told(t *testing.T, seq iter.Seq2[Entry, error]) (out []string) {
	t.Helper()
	for e, err := range seq {
		if err != nil {
			t.Error(err)
			continue
		}
		s := e.Command
		switch {
		case !e.Time.IsZero():
			s = fmt.Sprintf("%d %s", e.Time.Unix(), s)
		case !e.After.IsZero():
			s = fmt.Sprintf("after %d %s", e.After.Unix(), s)
		}
		if e.Elapsed != "" {
			s += " for " + e.Elapsed
		}
		out = append(out, s)
	}
	return out
}

func TestShells(t *testing.T) {
	for _, test := range []struct {
		name string
		read func(io.Reader) iter.Seq2[Entry, error]
		file string
		want []string
	}{
		{"without times", Bash, "ls\ncat 'a\nb'\n\necho it\\'s # don't\nid\n", []string{"ls", "cat 'a\nb'", "echo it\\'s # don't", "id"}},
		{"with times", Bash, "#1700000000\nls\n#1700000005\nfor i in 1\\\n2; do\n", []string{"1700000000 ls", "1700000005 for i in 1\\\n2; do"}},
		{"times begin and end", Bash, "ls\n#1700000000\nid\nw\n#x\n", []string{"ls", "1700000000 id", "after 1700000000 w", "after 1700000000 #x"}},
		{"two times", Bash, "#1700000000\n#1700000001\nls\n#1700000002\n", []string{"1700000001 ls"}},
		{"a quote that never ends", Bash, "echo \"a\n#1700000000\nls\n", []string{"echo \"a", "1700000000 ls"}},
		{"zsh", Zsh, ": 1700000000:5;ls\nid\n: 1700000001:0;echo a\\\nb; c\n: x;y\n", []string{
			"1700000000 ls for 5", "after 1700000000 id", "1700000001 echo a\nb; c for 0", "after 1700000001 : x;y"}},
		{"zsh's escapes", Zsh, ": 1:0;echo \xc3\x83\xa9\n", []string{"1 echo \xc3\x89 for 0"}},
	} {
		if got := told(t, test.read(strings.NewReader(test.file))); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s:\n got %q\nwant %q", test.name, got, test.want)
		}
	}
}

// TestCorpus reads the files of plaso's tests (bash_history.py, zsh_extended_history.py).
func TestCorpus(t *testing.T) {
	dir := needs.Corpora(t)
	bash := []string{"1380630977 /usr/lib/plaso", "1380630978 /bin/bash", "1380630979 /usr/local/bin/splunk -p 8080",
		"1623364236 binary argument1 \"--params=\\\nparam1=foo,\nparam2=bar\n\" argument2"}
	for _, test := range []struct {
		name string
		read func(io.Reader) iter.Seq2[Entry, error]
		want []string
	}{
		{"bash_history", Bash, bash},
		{"bash_history_desync", Bash, append([]string{"/sbin/reboot"}, bash...)},
		{"zsh_extended_history.txt", Zsh, []string{"1457771210 cd plaso for 0", "1457771212 ls for 0", "1458993293 echo dfgdfg \\\n& touch /tmp/afile for 0",
			"1458993297 PYTHONPATH=. ./runtests.py for 0"}},
	} {
		f, err := os.Open(filepath.Join(dir, "plaso", test.name))
		if err != nil {
			t.Error(err)
			continue
		}
		got := told(t, test.read(f))
		f.Close()
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s:\n got %q\nwant %q", test.name, got, test.want)
		}
	}
}

func FuzzShells(f *testing.F) {
	f.Add("#1700000000\nls 'a\nb'\n: 1700000000:5;ls\\\nb\n\x83\xa9\x00\x00")
	f.Fuzz(func(t *testing.T, s string) {
		for _, read := range []func(io.Reader) iter.Seq2[Entry, error]{Bash, Zsh} {
			for e, err := range read(strings.NewReader(s)) {
				if err != nil && !errors.Is(err, evidence.ErrCorrupt) {
					t.Fatal(err)
				}
				if err == nil && e.Command == "" {
					t.Fatal("an empty command")
				}
			}
		}
	})
}
