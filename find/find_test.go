package find_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/evidence/hostdir"
	"lagan/find"
	"lagan/internal/needs"
)

func TestGlob(t *testing.T) {
	for _, tc := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "", true}, {"*", "", true}, {"?", "", false}, {"a*c", "abbc", true}, {"a*c", "abbcd", false}, {"*a*b*", "xxaxxbxx", true},
		{"[abc]", "b", true}, {"[!abc]", "b", false}, {"[^a]", "b", true}, {"[a-c]x", "bx", true}, {"[]x]", "]", true}, {"[", "[", true}, {"[a", "[a", true},
		{"[[:digit:]]*", "7zip", true}, {"[[:upper:]]", "a", false}, {`\*`, "*", true}, {`\*`, "a", false}, {"*.so*", "/lib/x.so.1", true},
		{"a\\", "a\\", true}, {"\xff?", "\xff\xfe", true}, {"**a", "ba", true},
	} {
		if got := find.Glob(tc.pattern, tc.name, false); got != tc.want {
			t.Errorf("%q %q: %v", tc.pattern, tc.name, got)
		}
	}
	if !find.Glob("*.JPG", "a.jpg", true) || find.Glob("*.JPG", "a.jpg", false) {
		t.Error("letters of either case")
	}
}

func TestParseErrors(t *testing.T) {
	for _, expr := range []string{
		"-name", "( -true", "-true )", "!", "-o -true", "-true -o", "-type x", "-size 1x", "-size", "-perm 999", "-perm u+q", "-mtime x", "-newermz x", "-newermt soon",
		"-exec rm", "-delete", "-regextype egrep -regex (", "-regextype none", "-uid -", "-maxdepth -1", "-printf %", "-printf %Q", "-printf %T", "-printf %99999s", "-nonsense", "word",
		strings.Repeat("( ", 2000) + "-true" + strings.Repeat(" )", 2000),
	} {
		if _, err := find.Parse(strings.Fields(expr)); err == nil {
			t.Errorf("%.40q is taken", expr)
		}
	}
	if _, err := find.Parse([]string{"-true", ""}); err == nil {
		t.Error("an empty argument is taken")
	}
}

// matches runs an expression over a folder of this machine, at a time.
func matches(t *testing.T, root string, args []string, now time.Time) string {
	t.Helper()
	e, err := find.Parse(args)
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	fsys, err := hostdir.Open(root, evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	env := &find.Env{Now: now, Users: map[string]uint32{"root": 0}, Groups: map[string]uint32{"root": 0}, Stat: func(path string) (evidence.Info, error) {
		ino, err := evidence.Resolve(fsys, fsys.Root(), strings.TrimPrefix(path, root), false)
		if err != nil {
			return evidence.Info{}, err
		}
		return fsys.Stat(ino)
	}}
	if err := e.Bind(env); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	var out strings.Builder
	err = evidence.Walk(fsys, fsys.Root(), func(rel string, en evidence.Entry, info evidence.Info, err error) error {
		if err != nil {
			return err
		}
		f := find.File{Path: root, Start: root, Info: info}
		if rel != "" {
			f.Path, f.Depth = root+"/"+rel, strings.Count(rel, "/")+1
		}
		f.Target = func() string { s, _ := fsys.ReadLink(en.Ino); return s }
		f.Head = func() []byte { return nil }
		f.Empty = func() bool { list, _ := evidence.List(fsys, en.Ino); return len(list) == 0 }
		prune, quit := e.Match(&f, env, func(a find.Action, text string) {
			switch a {
			case find.ActionPrintf:
				out.WriteString(text)
			case find.ActionPrint0:
				out.WriteString(f.Path + "\x00")
			default:
				out.WriteString(f.Path + "\n")
			}
		})
		if quit {
			return os.ErrProcessDone
		}
		if prune && info.Type == evidence.TypeDir {
			return evidence.SkipDir
		}
		return nil
	})
	if err != nil && err != os.ErrProcessDone {
		t.Fatal(err)
	}
	return out.String()
}

// TestAgainstFind compares with the real find over a folder of this machine.
func TestAgainstFind(t *testing.T) {
	real := needs.Tool(t, "find")
	if out, err := exec.Command(real, "--version").Output(); err != nil || !strings.Contains(string(out), "GNU") {
		needs.Lack(t, "GNU find is missing")
	}
	root := t.TempDir()
	makeTree(t, root)
	ref := root + "/ref"
	for _, args := range [][]string{
		{}, {"-name", "*.txt"}, {"-iname", "A*"}, {"-name", "[a-c]*", "-o", "-name", ".*"}, {"!", "-name", "*a*"}, {"-not", "-type", "d"}, {"-type", "f,l"},
		{"(", "-name", "a", "-o", "-name", "b.txt", ")", "-type", "f"}, {"-path", "*/sub/*"}, {"-ipath", "*/SUB/*"}, {"-regex", ".*/[ab]\\(.txt\\)?"},
		{"-regextype", "posix-extended", "-regex", ".*/(a|b)(\\.txt)?"}, {"-regextype", "posix-extended", "-iregex", ".*\\.TXT"},
		{"-size", "+1k"}, {"-size", "-2k"}, {"-size", "1k"}, {"-size", "0"}, {"-size", "+1000c"}, {"-size", "3"}, {"-empty"}, {"-empty", "-type", "d"},
		{"-newer", ref}, {"!", "-newer", ref}, {"-newermt", "2024-01-02 00:00:00Z"}, {"-newerma", ref}, {"-mtime", "+100"}, {"-mtime", "-100"}, {"-mmin", "-60"}, {"-mmin", "+60"}, {"-mtime", "0"}, {"-mtime", "3"}, {"-mmin", "4321"},
		{"-perm", "644"}, {"-perm", "-600"}, {"-perm", "/111"}, {"-perm", "-4000"}, {"-perm", "/u+s,g+s"}, {"-perm", "u=rw,g=r,o=r"}, {"-perm", "-u+x"}, {"-perm", "/000"},
		{"-user", "root"}, {"-uid", "0"}, {"-uid", "+0"}, {"-gid", "-1"}, {"-links", "2"}, {"-links", "+1", "-type", "f"}, {"-samefile", root + "/hard"},
		{"-lname", "*.txt"}, {"-maxdepth", "1"}, {"-mindepth", "2"}, {"-mindepth", "1", "-maxdepth", "2", "-type", "d"}, {"-name", "sub", "-prune", "-o", "-print"},
		{"-name", "a", "-print", "-o", "-name", "b.txt", "-print0"}, {"-true", ",", "-false"}, {"-type", "f", "-quit"}, {"-type", "d", "-a", "-name", "d*"},
		{"-printf", "%p|%P|%f|%h|%H|%d|%s|%m|%M|%n|%i|%U|%G|%u|%g|%y|%l\\n"}, {"-printf", "%T@ %TY-%Tm-%Td %TH:%TM:%TS %T+ %TF %TT %Tj %Ta %TB\\n"}, {"-printf", "%t\\n"},
		{"-printf", "[%10s][%-10s][%04m][%#m]\\t%%\\101\\n"}, {"-type", "f", "-printf", "%f\\n\\c no"}, {"-name", "new\nline"}, {"-name", "\\*"}, {"-name", "star*", "-printf", "%f\\0"},
	} {
		cmd := exec.Command(real, append([]string{root}, args...)...)
		cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C")
		before := time.Now()
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("find %q: %v", args, err)
		}
		if slices.Contains(args, "-quit") { // find's own order is the folder's
			matches(t, root, args, before)
			continue
		}
		// The real find's own time was between the two: a minute may have begun.
		got, want := sorted(matches(t, root, args, before)), sorted(string(out))
		if got != want {
			got = sorted(matches(t, root, args, time.Now()))
		}
		if got != want {
			t.Errorf("%q:\n got %q\nwant %q", args, got, want)
		}
	}
}

func sorted(s string) string {
	lines := strings.SplitAfter(strings.ReplaceAll(s, "\x00", "\x00\n"), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func makeTree(t *testing.T, root string) {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"sub/deep/deeper", "dir.d", ".hidden"} {
		must(os.MkdirAll(filepath.Join(root, d), 0o755))
	}
	for name, size := range map[string]int{"a": 0, "b.txt": 1, "c": 1024, "sub/a": 1025, "sub/B.TXT": 2048, "sub/deep/b.txt": 1500, "ref": 3, "hard": 4,
		"new\nline": 5, "*": 6, "star*x": 7, ".hidden/.x": 8, "exec": 9, "suid": 10, "sub/latin-\xe9": 11} {
		must(os.WriteFile(filepath.Join(root, name), make([]byte, size), 0o644))
	}
	must(os.Link(filepath.Join(root, "hard"), filepath.Join(root, "sub/hard")))
	must(os.Symlink("b.txt", filepath.Join(root, "link")))
	must(os.Symlink("nowhere", filepath.Join(root, "sub/broken")))
	must(os.Chmod(filepath.Join(root, "exec"), 0o755))
	must(os.Chmod(filepath.Join(root, "suid"), 0o755|os.ModeSetuid))
	now := time.Now()
	for name, when := range map[string]time.Time{"a": now.AddDate(-1, 0, 0), "b.txt": now.Add(-3*24*time.Hour - 90*time.Second), "c": time.Date(2024, 1, 2, 3, 4, 5, 678901234, time.UTC),
		"ref": now.Add(-time.Hour), "sub/a": time.Date(1999, 12, 31, 23, 59, 59, 0, time.UTC)} {
		must(os.Chtimes(filepath.Join(root, name), when, when))
	}
}

func FuzzParse(f *testing.F) {
	f.Add("-name a*[b-c]? -o ( ! -size +1k ) -printf %T@%p\\n", "/etc/a.b")
	f.Add("-regex .*\\(a\\|b\\) , -perm u+s,g=rw", "x")
	f.Fuzz(func(t *testing.T, expr, path string) {
		e, err := find.Parse(strings.Fields(expr))
		if err != nil {
			return
		}
		env := &find.Env{Now: time.Unix(1e9, 0), Stat: func(string) (evidence.Info, error) { return evidence.Info{Mtime: time.Unix(1, 0)}, nil }}
		if e.Bind(env) != nil {
			return
		}
		file := find.File{Path: path, Info: evidence.Info{Type: evidence.TypeFile, Size: 7}, Target: func() string { return path },
			Head: func() []byte { return nil }, Empty: func() bool { return false }}
		e.Match(&file, env, func(find.Action, string) {})
	})
}
