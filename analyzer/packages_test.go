package analyzer

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lagan/evidence"
)

// packaged opens a folder as a node and returns the programs that are not what packages say.
func packaged(t *testing.T, dir string) []string {
	t.Helper()
	n, err := Open(context.Background(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	f, err := newFinder(n, context.Background(), FindOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.node.verifyPackages(); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, x := range f.all.Findings() {
		for _, e := range x.Evidence {
			if x.Rule.ID == "package-file-changed" {
				out = append(out, e.Path)
			}
		}
	}
	slices.Sort(out)
	return out
}

func putFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

const md5OfGood = "755f85c2723bb39381c7379a604160d8" // of "good"

func TestVerifyPackages(t *testing.T) {
	sum := sha1.Sum([]byte("good"))
	apk := fmt.Sprintf("P:tool\nV:1\nF:usr/bin\nR:a\nZ:Q1%[1]s\nR:b\nZ:Q1%[1]s\nF:etc\nR:b.conf\nZ:Q1%[1]s\n\n", base64.StdEncoding.EncodeToString(sum[:]))
	dir := t.TempDir()
	putFiles(t, dir, map[string]string{
		"etc/os-release":             "ID=debian\n",
		"usr/bin/ls":                 "good",
		"usr/bin/ssh":                "evil",
		"usr/bin/vim":                "evil", // diverted
		"usr/lib/x/libc.so.6":        "evil",
		"usr/share/doc/ssh/README":   "evil",
		"var/lib/dpkg/info/ssh.list": "/.\n/usr\n/usr/bin\n/usr/bin/ssh\n",
		"var/lib/dpkg/info/ssh.md5sums": md5OfGood + "  bin/ssh\n" + md5OfGood + "  usr/bin/ls\n" + md5OfGood + "  usr/share/doc/ssh/README\n" +
			md5OfGood + "  usr/lib/x/libc.so.6\n" + md5OfGood + "  usr/bin/gone\n" + md5OfGood + "  usr/bin/vim\nnot a line\n",
		"var/lib/dpkg/diversions": "/usr/bin/vim\n/usr/bin/vim.real\nother\n",
		"lib/apk/db/installed":    apk,
		"usr/bin/a":               "good",
		"usr/bin/b":               "evil",
		"etc/b.conf":              "evil",
	})
	if err := os.Symlink("usr/bin", filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	if got, want := packaged(t, dir), []string{"/bin/ssh", "/usr/bin/b", "/usr/lib/x/libc.so.6"}; !slices.Equal(got, want) {
		t.Errorf("changed %q, want %q", got, want)
	}
}

// TestBrought holds a container's changes against the packages that it installed itself.
func TestBrought(t *testing.T) {
	base, upper := t.TempDir(), t.TempDir()
	putFiles(t, base, map[string]string{"var/lib/dpkg/info/old.list": "/usr/bin/old\n", "var/lib/dpkg/info/old.md5sums": md5OfGood + "  usr/bin/old\n"})
	putFiles(t, upper, map[string]string{
		"var/lib/dpkg/info/old.list": "/usr/bin/old\n", "var/lib/dpkg/info/old.md5sums": md5OfGood + "  usr/bin/old\n",
		"var/lib/dpkg/info/new.list": "/usr/bin/new\n/usr/bin/evil\n/etc/new.conf\n", "var/lib/dpkg/info/new.md5sums": md5OfGood + "  usr/bin/new\n" + md5OfGood + "  usr/bin/evil\n",
		"usr/bin/new": "good", "usr/bin/evil": "evil", "usr/bin/old": "evil", "etc/new.conf": "set",
	})
	b, u := treeOf(t, base), treeOf(t, upper)
	lists := packageLists{view: u, base: b, written: u}
	for name, want := range map[string]bool{"/usr/bin/new": true, "/usr/bin/evil": false, "/usr/bin/old": false, "/etc/new.conf": true, "/usr/bin/none": false} {
		if got := lists.brought(name, openAt(u, name)); got != want {
			t.Errorf("%s: brought %v, want %v", name, got, want)
		}
	}
}

func treeOf(t *testing.T, dir string) evidence.FS {
	t.Helper()
	n, err := Open(context.Background(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n.Tree
}

// TestRPMVerify compares with rpm -V on a package that rpmbuild makes here, in a root of its own.
func TestRPMVerify(t *testing.T) {
	for _, tool := range []string{"rpmbuild", "rpm"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI_REQUIRE_TOOLS") == "1" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("rpm --root needs root")
	}
	work, root := t.TempDir(), t.TempDir()
	putFiles(t, work, map[string]string{"p.spec": `Name: tool
Version: 1
Release: 1
Summary: A package for a test
License: none
BuildArch: noarch
%description
x
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/etc %{buildroot}/usr/lib64
for i in ls ssh kept; do echo $i > %{buildroot}/usr/bin/$i; done
echo lib > %{buildroot}/usr/lib64/libx.so.1
echo conf > %{buildroot}/etc/tool.conf
%files
/usr/bin/*
/usr/lib64/libx.so.1
%config /etc/tool.conf
`})
	run := func(name string, args ...string) string {
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil && name != "rpm" {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		return string(out)
	}
	run("rpmbuild", "-bb", "--define", "_topdir "+work, "--define", "__os_install_post %{nil}", filepath.Join(work, "p.spec"))
	found, _ := filepath.Glob(work + "/RPMS/*/*.rpm")
	if len(found) != 1 {
		t.Fatalf("packages %q", found)
	}
	run("rpm", "--root", root, "--dbpath", "/var/lib/rpm", "-i", "--nodeps", found[0])
	putFiles(t, root, map[string]string{"usr/bin/ssh": "evil", "usr/lib64/libx.so.1": "evil", "etc/tool.conf": "changed", "etc/os-release": "ID=fedora\n"})
	var want []string
	for l := range strings.Lines(run("rpm", "--root", root, "--dbpath", "/var/lib/rpm", "-V", "--nodeps", "tool")) {
		fields := strings.Fields(l)
		if len(fields) == 2 && strings.Contains(fields[0], "5") {
			want = append(want, fields[1]) // three fields: a file of configuration
		}
	}
	slices.Sort(want)
	if got := packaged(t, root); !slices.Equal(got, want) || len(want) != 2 {
		t.Errorf("changed %q, rpm -V says %q", got, want)
	}
}
