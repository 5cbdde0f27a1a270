package analyzer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"lagan/artifacts/lines"
	"lagan/evidence"
	"lagan/timeline"
)

// site is a place in which artifacts are looked for: the node, or what a container wrote.
type site struct {
	tree      evidence.FS // what names mean: the node's tree, or the container's view
	written   evidence.FS // where files are looked for: the node's tree, or the upper folder
	volume    int
	container *Container // nil: the node
	prefix    string     // of display_name
	zone      zone
	homes     []home
	told      map[evidence.Ino]bool   // files: some have several paths
	keep      func(evidence.Ino) bool // nil: every file that is found
}

// home is a user's folder, as passwd names it.
type home struct {
	user string
	uid  uint32
	path string // without slashes at its ends
}

// artifact is a file that tells of the past.
type artifact struct {
	*site
	path string // with a leading slash
	user string // whose home it lies in; "" nobody's
	info evidence.Info
	file *io.SectionReader
	bad  int // errors that were told
}

// maxBad bounds the errors that are told of one file.
const maxBad = 20

func (a *artifact) object() string { return a.prefix + a.path }

// unpacked reads the file from its start. close releases what that takes.
func (a *artifact) unpacked() (r io.Reader, close func()) {
	return lines.Unpack(io.NewSectionReader(a.file, 0, a.file.Size()))
}

// artifactCommon has what all records of a file carry.
func (t *teller) artifactCommon(a *artifact, parser string) *timeline.Common {
	if a.container != nil {
		return t.containerCommon(a.container, parser)
	}
	return t.begin(parser, a.volume).Common()
}

// wrong tells that a part of the file can't be read.
func (t *teller) wrong(a *artifact, err error) {
	a.bad++
	switch {
	case a.bad < maxBad:
		t.n.gap(a.volume, a.object(), err)
	case a.bad == maxBad:
		t.n.gap(a.volume, a.object(), fmt.Errorf("further errors of this file are not told, as %w", err))
	}
}

// each makes a record of each entry of a file; what can't be read is a gap.
func each[E any](t *teller, a *artifact, entries iter.Seq2[E, error], record func(*E)) error {
	for e, err := range entries {
		if err != nil {
			t.wrong(a, err)
			continue
		}
		record(&e)
		if err := t.tell(); err != nil {
			return sinkError{err}
		}
	}
	return nil
}

// logged begins the record of what a file says at an offset of a time.
func (t *teller) logged(a *artifact, kind timeline.DataType, common *timeline.Common, offset int64, desc timeline.Desc, at time.Time) {
	t.r.Reset(kind, common)
	t.r.Path(a.prefix, a.path)
	t.r.Int(timeline.FieldOffset, offset)
	t.r.Time(desc, at)
}

// body gives a record the text of a line, under plaso's older name and its newer one.
func (t *teller) body(text string) {
	t.r.String(timeline.FieldBody, text)
	t.r.String(timeline.FieldMessageBody, text)
}

// artifactSource is a kind of artifact: where its files are, and how they are told.
type artifactSource struct {
	globs []string // from the root
	homes []string // from each user's home
	tell  func(*teller, *artifact) error
}

// artifactSources are the artifacts of a node's system and of what a container wrote.
var artifactSources = []artifactSource{
	{globs: syslogGlobs, tell: (*teller).syslog},
	{globs: []string{"run/utmp", "var/run/utmp", "var/log/wtmp*", "var/log/btmp*"}, tell: (*teller).utmp},
	{globs: []string{"var/lib/wtmpdb/wtmp.db", "var/log/wtmp.db"}, tell: (*teller).wtmpdb},
	{globs: []string{"var/log/lastlog"}, tell: (*teller).lastlog},
	{globs: []string{"var/lib/lastlog/lastlog2.db"}, tell: (*teller).lastlog2},
	// A process of a user whom passwd doesn't know has / for a home.
	{homes: bashHistories, globs: bashHistories, tell: (*teller).bashHistory},
	{homes: zshHistories, globs: zshHistories, tell: (*teller).zshHistory},
	{globs: []string{"var/log/dpkg.log*"}, tell: (*teller).dpkgLog},
	{globs: []string{"var/log/apt/history.log*"}, tell: (*teller).aptHistory},
	{globs: []string{"var/log/dnf.log*", "var/log/dnf.rpm.log*", "var/log/dnf.librepo.log*", "var/log/hawkey.log*", "var/log/yum.log*"}, tell: (*teller).dnfLog},
	{globs: rpmSQLite, tell: (*teller).rpmSQLite},
	{globs: rpmDatabases, tell: (*teller).rpmDatabase},
	fail2banLog,
}

var (
	bashHistories = []string{".bash_history", ".sh_history", ".ash_history"}
	zshHistories  = []string{".zsh_history", ".zhistory", ".histfile"} // the last is what zsh-newuser-install sets
)

// artifacts tells what the files of the node, of its containers or of both say.
func (t *teller) artifacts() error {
	if t.o.Scope != ScopeContainers && (len(t.o.Containers) == 0 || t.o.Scope == ScopeNode) {
		if err := t.nodeArtifacts(); err != nil {
			return err
		}
	}
	if t.o.Scope == ScopeNode {
		return nil
	}
	containers := t.o.Containers
	if len(containers) == 0 {
		containers = t.n.Containers()
	}
	for _, c := range containers {
		if err := t.containerLogs(c); err != nil {
			return err
		}
		if err := t.containerArtifacts(c); err != nil {
			return err
		}
	}
	if len(t.o.Containers) > 0 {
		return nil
	}
	return t.otherPodLogs()
}

func (t *teller) nodeArtifacts() error {
	if t.n.Tree == nil {
		return nil
	}
	s := &site{tree: t.n.Tree, written: t.n.Tree, prefix: "NODE:"}
	return t.site(s)
}

// containerArtifacts tells what a container's own files say: those that it
// wrote. What its image brought is of the past of the image's builder.
func (t *teller) containerArtifacts(c *Container) error {
	for _, s := range t.containerSites(c) {
		if err := t.site(s); err != nil {
			return err
		}
	}
	return nil
}

// site tells the artifacts of one place.
func (t *teller) site(s *site) error {
	s.zone = zoneOf(s.tree, s.container != nil)
	s.homes = homesOf(s.tree)
	for _, src := range slices.Concat(artifactSources, setupSources, []artifactSource{keysElsewhere(s)}) {
		for _, p := range s.patterns(&src) {
			if err := t.matches(s, p.glob, p.user, src.tell); err != nil {
				return err
			}
		}
	}
	return nil
}

// matches tells each file that a pattern names.
func (t *teller) matches(s *site, pattern, user string, tell func(*teller, *artifact) error) error {
	for name, ino := range glob(s.written, pattern) {
		if s.told[ino] || s.keep != nil && !s.keep(ino) {
			continue
		}
		if s.told == nil {
			s.told = make(map[evidence.Ino]bool)
		}
		s.told[ino] = true
		a := &artifact{site: s, path: "/" + name, user: user}
		var failed error
		t.n.guard(s.volume, a.object(), func() error {
			if ok, err := a.open(ino); !ok {
				return err
			}
			err := tell(t, a)
			if t.ctx.Err() != nil || isSinkError(err) {
				failed = err
				return nil
			}
			return err
		})
		if failed != nil {
			return failed
		}
	}
	return t.ctx.Err()
}

// open opens the file, through the container's view where it has one: the
// upper folder may hold a file's attributes alone.
func (a *artifact) open(ino evidence.Ino) (ok bool, err error) {
	tree := a.written
	if a.container != nil {
		if in, err := evidence.Resolve(a.tree, a.tree.Root(), a.path, false); err == nil {
			tree, ino = a.tree, in
		}
	}
	if a.info, err = tree.Stat(ino); err != nil || a.info.Type != evidence.TypeFile {
		return false, err
	}
	a.file, err = tree.Open(ino)
	return err == nil, err
}

// glob yields the files that a pattern names, in name order. Links to folders
// are followed (/home may be /var/home), those to files not: what they lead to
// is found where it lies.
func glob(fsys evidence.FS, pattern string) iter.Seq2[string, evidence.Ino] {
	return func(yield func(string, evidence.Ino) bool) {
		globAt(fsys, fsys.Root(), "", strings.Split(pattern, "/"), yield)
	}
}

func globAt(fsys evidence.FS, dir evidence.Ino, at string, elements []string, yield func(string, evidence.Ino) bool) bool {
	name, rest := elements[0], elements[1:]
	var found []evidence.Entry
	if !strings.ContainsAny(name, "*?[") {
		if e, err := evidence.Lookup(fsys, dir, name); err == nil {
			found = append(found, e)
		}
	} else if isDir(fsys, dir) {
		for e, err := range fsys.ReadDir(dir) {
			if err != nil {
				continue // the telling of files says what can't be read
			}
			if ok, _ := path.Match(name, e.Name); ok {
				found = append(found, e)
			}
		}
		slices.SortFunc(found, func(a, b evidence.Entry) int { return strings.Compare(a.Name, b.Name) })
	}
	for _, e := range found {
		full := join(at, e.Name)
		if len(rest) == 0 {
			if !yield(full, e.Ino) {
				return false
			}
			continue
		}
		if dir, ok := folderOf(fsys, e.Ino, full); ok && !globAt(fsys, dir, full, rest, yield) {
			return false
		}
	}
	return true
}

// folderOf is the folder that a name means, itself or through a link.
func folderOf(fsys evidence.FS, ino evidence.Ino, name string) (evidence.Ino, bool) {
	info, err := fsys.Stat(ino)
	if err == nil && info.Type == evidence.TypeSymlink {
		if ino, err = evidence.Resolve(fsys, fsys.Root(), name, true); err == nil {
			info, err = fsys.Stat(ino)
		}
	}
	return ino, err == nil && info.Type == evidence.TypeDir
}

func isDir(fsys evidence.FS, ino evidence.Ino) bool {
	info, err := fsys.Stat(ino)
	return err == nil && info.Type == evidence.TypeDir
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// maxHomes bounds the users whose homes are looked into.
const maxHomes = 10_000

// homesOf returns root's home, those of passwd and those below /home.
func homesOf(tree evidence.FS) []home {
	homes := []home{{user: "root", path: "root"}}
	known := map[string]bool{"root": true}
	add := func(h home) {
		if h.path = strings.Trim(path.Clean("/"+h.path), "/"); h.path != "" && !known[h.path] && len(homes) < maxHomes {
			known[h.path] = true
			homes = append(homes, h)
		}
	}
	passwd, err := evidence.ReadFile(tree, tree.Root(), "etc/passwd", maxConfigFile)
	if err == nil {
		for line := range strings.Lines(string(passwd)) {
			f := strings.Split(strings.TrimSpace(line), ":")
			if len(f) < 7 {
				continue
			}
			uid, err := strconv.ParseUint(f[2], 10, 32)
			if err != nil {
				continue
			}
			add(home{f[0], uint32(uid), f[5]})
		}
	}
	for name := range glob(tree, "home/*") {
		add(home{user: path.Base(name), path: name})
	}
	return homes
}

// zone is how times without one are understood.
type zone struct {
	location *time.Location
	says     string // for time_assumption
}

const zoneinfo = "usr/share/zoneinfo/"

// zoneOf finds the zone of a tree: /etc/localtime, whose target names it
// (localtime(5)), or Debian's /etc/timezone. Without either it is UTC.
func zoneOf(tree evidence.FS, container bool) zone {
	whose := "node"
	if container {
		whose = "container"
	}
	var name string
	if ino, err := evidence.Resolve(tree, tree.Root(), "etc/localtime", false); err == nil {
		if target, err := tree.ReadLink(ino); err == nil {
			_, name, _ = strings.Cut(target, "zoneinfo/")
		}
	}
	if b, err := evidence.ReadFile(tree, tree.Root(), "etc/timezone", 1<<10); name == "" && err == nil {
		name = strings.TrimSpace(string(b))
	}
	data, err := evidence.ReadFile(tree, tree.Root(), "etc/localtime", maxConfigFile)
	if err != nil && name != "" {
		data, err = evidence.ReadFile(tree, tree.Root(), zoneinfo+name, maxConfigFile)
	}
	if name == "" {
		name = "of /etc/localtime"
	}
	if err == nil {
		if l, err := time.LoadLocationFromTZData(name, data); err == nil {
			return zone{l, "zone " + name + ", the " + whose + "'s"}
		}
	}
	switch {
	case name == "UTC" || strings.HasSuffix(name, "/UTC"):
		return zone{time.UTC, "zone " + name + ", the " + whose + "'s"}
	case errors.Is(err, fs.ErrNotExist) && name == "of /etc/localtime":
		return zone{time.UTC, "taken as UTC: the " + whose + " names no zone"}
	}
	return zone{time.UTC, "taken as UTC: the " + whose + "'s zone, " + name + ", can't be read"}
}

// assume says how a time was completed.
func (z zone) assume(yearless, zoneless bool) string {
	const year = "year inferred from the file's modification time and the order of its lines"
	switch {
	case yearless && zoneless:
		return year + "; " + z.says
	case yearless:
		return year
	case zoneless:
		return z.says
	}
	return ""
}

// inNode finds a file that the node names, in the store's tree or in the node's.
func (n *Node) inNode(c *Container, name string) (evidence.FS, evidence.Ino, error) {
	ino, err := evidence.Resolve(c.store.Tree, c.store.Tree.Root(), name, true)
	if err != nil && n.Tree != nil && c.store.Volume != 0 {
		if ino, err := evidence.Resolve(n.Tree, n.Tree.Root(), name, true); err == nil {
			return n.Tree, ino, nil
		}
	}
	return c.store.Tree, ino, err
}
