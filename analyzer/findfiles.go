package analyzer

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"time"

	"lagan/evidence"
	"lagan/findings"
	"lagan/layers"
)

// containerFinder looks at what one container wrote.
type containerFinder struct {
	*finder
	c        *Container
	of       *findings.Container
	view     evidence.FS
	base     evidence.FS
	lists    packageLists
	setuids  []setuidFile   // of the image
	searched bool           // for them
	began    time.Time      // when the container began to run
	made     time.Time      // when its image was made
	replaced map[string]int // folders, by how much of them was told to be gone
}

type setuidFile struct {
	path string
	ino  evidence.Ino
	info evidence.Info
}

func (f *finder) of(c *Container) *containerFinder {
	if cf := f.containers[c]; cf != nil {
		return cf
	}
	cf := &containerFinder{finder: f, c: c, of: f.containerOf(c), began: c.Started}
	if cf.began.IsZero() {
		cf.began = c.Created
	}
	if t, err := f.n.View(c); err == nil {
		cf.view = t.FS
	}
	if base, err := f.n.Base(c); err == nil {
		cf.base = base
	}
	for _, i := range f.n.Images() {
		if i.made(c) {
			cf.made = i.Created
		}
	}
	cf.lists = packageLists{view: cf.view, base: cf.base}
	if s := (&teller{n: f.n}).containerSite(c); s != nil {
		cf.lists.written = s.written
	}
	f.containers[c] = cf
	return cf
}

// change looks at one change of a container.
func (f *finder) change(c *Container, ch *Change) {
	cf := f.of(c)
	s := fileSubject("container", ch.Path, &ch.Info, ch.Target)
	kind := changeKind(ch)
	change := string(ch.Kind)
	if kind == "opaque" {
		change = kind
	}
	s.Set("change", change)
	s.List("changed", ch.Changed)
	s.Flag("recent", ch.Kind != layers.Deleted)
	e := findings.Evidence{Place: placeOf(c, ch.Path), Path: ch.Path, Container: cf.of, Offset: -1, File: fileEvidence(&ch.Info, change, ch.Target)}
	e.Time, e.TimeOf = when(&ch.Info, change)
	if ch.Kind == layers.Deleted {
		e.Time, e.TimeOf = ch.Deleted, "deleted"
		e.File.Atime = time.Time{}
	}
	if !e.Time.IsZero() && !cf.began.IsZero() {
		s.Set("after_start", seconds(e.Time.Sub(cf.began)))
	}
	if ch.Kind != layers.Deleted && ch.Info.Type == evidence.TypeFile {
		cf.content(s, &e, ch)
	}
	s.Lazy("packaged", func() string { return boolText(cf.lists.brought(ch.Path, e.Open)) })
	if kind == "opaque" {
		f.later(e.Place, func() { cf.opaque(s, e) })
		return
	}
	f.match(s, e)
}

// shownReplaced is how many files of a replaced folder are told each by itself.
const shownReplaced = 5

// opaque tells that a folder of the image was replaced: the folder, and the
// first of the files that were in it.
func (cf *containerFinder) opaque(s *findings.Subject, e findings.Evidence) {
	if cf.replaced == nil {
		cf.replaced = make(map[string]int)
	}
	dir := path.Dir(e.Path)
	if cf.replaced[dir]++; cf.replaced[dir] <= shownReplaced {
		cf.meet(s, e)
	}
	if cf.replaced[dir] > 1 {
		return
	}
	e.Place, e.Path, e.File = placeOf(cf.c, dir), dir, nil
	e.Kind = findings.KindFile
	for _, m := range cf.set.Match(s) {
		e.Field, e.Value = "change", "the folder was deleted and made anew, all that was in it is gone"
		cf.all.Add(m.Rule, "", e)
	}
}

// content adds what only a regular file that is there has.
func (cf *containerFinder) content(s *findings.Subject, e *findings.Evidence, ch *Change) {
	e.Open = place{ch.tree.FS, ch.ino}.open
	cf.file(s, e.Open, ch.Path, &ch.Info, ch.Xattrs, slices.Contains(ch.Changed, layers.ChangedContent) || ch.Kind == layers.Added)
	old, oldInfo := cf.before(ch)
	var oldXattrs map[string][]byte
	if oldInfo != nil {
		oldXattrs, _ = old.fsys.Xattrs(old.ino) // none where they can't be read: what is gained is then told
	}
	s.Flag("gained", gained(&ch.Info, ch.Xattrs, oldInfo, oldXattrs))
	s.Lazy("old_format", func() string {
		if oldInfo == nil || oldInfo.Type != evidence.TypeFile {
			return ""
		}
		r, err := old.open()
		if err != nil {
			return ""
		}
		return formatOf(r)
	})
	s.Lazy("copy_of", func() string { return cf.copyOf(e.Open, &ch.Info) })
	s.Lazy("added_text", func() string {
		now := s.First(findings.TextField)
		if oldInfo == nil || now == "" {
			return now
		}
		r, err := old.open()
		if err != nil {
			return now
		}
		return addedLines(now, textOf(r))
	})
	s.Flag("mtime_before_image", !cf.made.IsZero() && ch.Info.Mtime.Before(cf.made))
}

// before returns what the image has at a change's path: no info where nothing.
func (cf *containerFinder) before(ch *Change) (place, *evidence.Info) {
	if ch.was.fsys != nil {
		return ch.was, &ch.wasInfo
	}
	if cf.base == nil {
		return place{}, nil
	}
	ino, err := evidence.Resolve(cf.base, cf.base.Root(), ch.Path, false)
	if err != nil {
		return place{}, nil
	}
	info, err := cf.base.Stat(ino)
	if err != nil {
		return place{}, nil
	}
	return place{cf.base, ino}, &info
}

// file adds what rules ask of any regular file. Without fresh content its text
// is not looked into: an image's own file whose mode changed says nothing new.
func (f *finder) file(s *findings.Subject, open func() (*io.SectionReader, error), p string, i *evidence.Info, xattrs map[string][]byte, fresh bool) {
	read := func() *io.SectionReader {
		r, err := open()
		if err != nil {
			return nil
		}
		return r
	}
	s.Lazy("format", func() string { return formatOf(read()) })
	if fresh {
		s.Lazy(findings.TextField, func() (text string) {
			f.n.guard(0, p, func() error { text = textAt(p, read()); return nil })
			return text
		})
	}
	s.Flag("capability", len(xattrs["security.capability"]) > 0)
	born := i.Btime
	if born.IsZero() {
		born = i.Ctime
	}
	s.Flag("time_set_back", i.Mtime.Nanosecond() == 0 && !i.Mtime.IsZero() && born.Sub(i.Mtime) > 24*time.Hour)
	if md5, sha1, sha256 := f.in.Hashes(); (md5 || sha1 || sha256) && i.Size > 0 {
		f.hashed(s, read(), md5, sha1, sha256)
	}
}

// opener returns how a file of a tree is opened, each time anew.
func openAt(fsys evidence.FS, p string) func() (*io.SectionReader, error) {
	return func() (*io.SectionReader, error) {
		ino, err := evidence.Resolve(fsys, fsys.Root(), p, false)
		if err != nil {
			return nil, err
		}
		return fsys.Open(ino)
	}
}

// fileSubject begins a subject with what a stat tells.
func fileSubject(where, p string, i *evidence.Info, target string) *findings.Subject {
	s := findings.NewSubject(findings.KindFile)
	s.Set("where", where)
	s.Set("path", p)
	s.Set("name", path.Base(p))
	s.Set("dir", path.Dir(p))
	s.Set("type", i.Type.String())
	s.Set("mode", fmt.Sprintf("%04o", i.Perm))
	s.Set("uid", strconv.FormatUint(uint64(i.UID), 10))
	s.Set("gid", strconv.FormatUint(uint64(i.GID), 10))
	if i.UID == 0 {
		s.Set("owner", "root")
	}
	s.Set("size", strconv.FormatInt(i.Size, 10))
	s.Set("links", strconv.FormatUint(uint64(i.Nlink), 10))
	s.Set("target", target)
	file := i.Type == evidence.TypeFile
	s.Flag("executable", file && i.Perm&0o111 != 0)
	s.Flag("setuid", file && i.Perm&0o4000 != 0)
	s.Flag("setgid", file && i.Perm&0o2010 == 0o2010)
	s.Flag("hidden", isHidden(p))
	for _, f := range [...]struct {
		field string
		re    *regexp.Regexp
	}{{"in_temp", temporary}, {"startup", startup}, {"document_root", documentRoots}, {"home_history", histories}} {
		s.Lazy(f.field, func() string { return boolText(f.re.MatchString(p)) })
	}
	if i.Type == evidence.TypeChar || i.Type == evidence.TypeBlock {
		s.Set("rdev", fmt.Sprintf("%d:%d", i.Major, i.Minor))
	}
	return s
}

func boolText(v bool) string {
	if v {
		return "true"
	}
	return "false"
}

// gained says whether a program gives rights that what it replaces, if
// anything, did not give.
func gained(now *evidence.Info, xattrs map[string][]byte, before *evidence.Info, oldXattrs map[string][]byte) bool {
	rights := now.Perm & 0o6000
	if rights&0o2000 != 0 && now.Perm&0o010 == 0 {
		rights &^= 0o2000 // mandatory locking once, no right to anything
	}
	if now.Perm&0o111 == 0 {
		rights = 0
	}
	caps := xattrs["security.capability"]
	if before == nil {
		return rights != 0 || len(caps) > 0
	}
	if rights&^before.Perm != 0 || rights != 0 && (now.UID != before.UID || now.GID != before.GID) {
		return true
	}
	return len(caps) > 0 && !bytes.Equal(caps, oldXattrs["security.capability"])
}

// maxSetuids bounds the programs of an image that a new one is compared with.
const maxSetuids = 1000

// copyOf returns the program of the image with the same content and rights, "" where there is none.
func (cf *containerFinder) copyOf(open func() (*io.SectionReader, error), i *evidence.Info) string {
	if cf.base == nil {
		return ""
	}
	if !cf.searched {
		cf.searched = true
		cf.n.guard(cf.c.store.Volume, cf.c.DisplayName(), cf.findSetuids)
	}
	for _, s := range cf.setuids {
		if s.info.Size != i.Size || s.info.Perm != i.Perm || s.info.UID != i.UID || s.info.GID != i.GID {
			continue
		}
		if a, err := open(); err == nil {
			if b, err := cf.base.Open(s.ino); err == nil && sameContent(a, b) {
				return s.path
			}
		}
	}
	return ""
}

func (cf *containerFinder) findSetuids() error {
	return evidence.Walk(cf.base, cf.base.Root(), func(rel string, e evidence.Entry, info evidence.Info, err error) error {
		if err := cf.ctx.Err(); err != nil {
			return err
		}
		if err == nil && info.Type == evidence.TypeFile && info.Perm&0o6000 != 0 && len(cf.setuids) < maxSetuids {
			cf.setuids = append(cf.setuids, setuidFile{"/" + rel, e.Ino, info})
		}
		return nil
	})
}

func sameContent(a, b *io.SectionReader) bool {
	x, err := hashSHA256(a)
	if err != nil {
		return false
	}
	y, err := hashSHA256(b)
	return err == nil && x == y
}
