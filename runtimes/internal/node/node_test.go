package node

import (
	"errors"
	"io/fs"
	"iter"
	"reflect"
	"slices"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/runtimes/internal/treetest"
)

func TestParseTOML(t *testing.T) {
	doc := ParseTOML(`
version = 3   # a number
root = "/var/lib/containerd" # "no"
state='/run/\n'
imports = ["/a/*.toml",
  # "/not/this",
  '/b', ]
bad = "no end
[plugins."io.containerd.snapshotter.v1.overlayfs"]
root_path = "/data/with \"quotes\" and \\ in it"
[[list]]
x = "y"
[open
z = ["never closed",
`)
	for _, c := range []struct {
		table, key string
		want       []string
	}{
		{"", "root", []string{"/var/lib/containerd"}},
		{"", "state", []string{`/run/\n`}},
		{"", "imports", []string{"/a/*.toml", "/b"}},
		{"", "version", nil},
		{"", "bad", nil},
		{"plugins.io.containerd.snapshotter.v1.overlayfs", "root_path", []string{`/data/with "quotes" and \ in it`}},
		{"list", "x", []string{"y"}},
	} {
		if got := doc[c.table][c.key]; !reflect.DeepEqual(got, c.want) {
			t.Errorf("[%s] %s: %q, want %q", c.table, c.key, got, c.want)
		}
	}
	if doc.Text("", "imports") != "" || doc.Text("", "root") != "/var/lib/containerd" || doc.Text("none", "x") != "" {
		t.Error("Text")
	}
}

func TestFlagValues(t *testing.T) {
	for text, want := range map[string][]string{
		"ExecStart=/usr/bin/dockerd -H fd:// --data-root=/a\n":            {"/a"},
		"ExecStart=/usr/bin/dockerd \\\n  --data-root \\\n  /b -D\n":      {"/b"},
		"DOCKER_OPTS=\"--data-root=/c --debug\"\n":                        {"/c"},
		"OPTIONS='--selinux-enabled --graph=/d'\n":                        {"/d"},
		"#--data-root=/e\n;--data-root=/e\n":                              nil,
		"ExecStart=/usr/bin/dockerd --data-root\n":                        nil,
		"ExecStart=/usr/bin/dockerd --data-root relative --data-root=../": {"relative", "../"},
		"ExecStart=/usr/bin/dockerd --data-rooted=/f":                     nil,
	} {
		if got := flagValues(text, []string{"--data-root", "--graph"}); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestYAMLValue(t *testing.T) {
	for text, want := range map[string]string{
		"data-dir: /x\n": "/x", "a: b\ndata-dir: \"/y z\" # why\n": "/y z", "data-dir: '/q'": "/q",
		"data-dir: /x # why": "/x", "  data-dir: /nested\n": "", "data-dir:": "", "data-dir: \"open": "", "": "",
	} {
		if got := YAMLValue(text, "data-dir"); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestHomes(t *testing.T) {
	fsys := treetest.New(treetest.Files(map[string]string{
		"etc/passwd": "root:x:0:0::/root:/bin/sh\nkim:x:1:1::/srv/kim/:/bin/sh\nd:x:2:2::/:/x\nbroken:line\nr:x:3:3::relative:/x\n",
		"home/lee/x": "",
	}))
	if got, want := Homes(fsys, fsys.Root()), []string{"/home/lee", "/root", "/srv/kim"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// counting counts the searches of a tree.
type counting struct {
	*treetest.Tree
	searches int
	broken   bool
}

func (c *counting) Lookup(dir evidence.Ino, name string) (evidence.Entry, error) {
	c.searches++
	return c.Tree.Lookup(dir, name)
}

func (c *counting) ReadDir(dir evidence.Ino) iter.Seq2[evidence.Entry, error] {
	if c.broken {
		return func(yield func(evidence.Entry, error) bool) { yield(evidence.Entry{}, evidence.ErrCorrupt) }
	}
	return c.Tree.ReadDir(dir)
}

func TestCached(t *testing.T) {
	for _, broken := range []bool{false, true} {
		c := &counting{Tree: treetest.New(treetest.Files(map[string]string{"d/a": "1", "d/b": "2"})), broken: broken}
		fsys := Cached(c)
		if Cached(fsys) != fsys {
			t.Error("cached twice")
		}
		for range 50 {
			for _, name := range []string{"d/a", "d/b"} {
				if _, err := evidence.Resolve(fsys, fsys.Root(), name, true); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := evidence.Resolve(fsys, fsys.Root(), "d/none", true); !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
		if few := c.searches < 10; few == broken {
			t.Errorf("%d searches of the tree below, folders broken: %v", c.searches, broken)
		}
	}
}

func FuzzConfiguration(f *testing.F) {
	f.Add("root = \"/x\"\nimports = [\"a\", # b\n'c']\n[t.\"u\"]\nk='v'")
	f.Add("ExecStart=/x --root /y \\\n --root=/z")
	f.Fuzz(func(t *testing.T, text string) {
		for table, keys := range ParseTOML(text) {
			for key, values := range keys {
				if len(values) > len(text) || strings.Contains(table, "\n") || strings.Contains(key, "\n") {
					t.Errorf("[%s] %s: %d values", table, key, len(values))
				}
			}
		}
		for _, v := range flagValues(text, []string{"--root", "-c"}) {
			if v[0] != '/' {
				t.Error(v)
			}
		}
		YAMLValue(text, "data-dir")
	})
}
