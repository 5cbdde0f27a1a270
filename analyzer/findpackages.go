package analyzer

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"regexp"
	"slices"

	"lagan/evidence"
	"lagan/findings"
)

// packageLists knows which files package managers brought while the container ran.
type packageLists struct {
	view, base, written evidence.FS
	files               promises // nil: not read yet
}

// brought says whether a package that was installed in the running container
// has a file as it is: where the package's database tells a digest, the content
// must have it. Lists that the image itself has don't count: what changes an old
// package's file is no package manager that has left no trace.
func (p *packageLists) brought(name string, open func() (*io.SectionReader, error)) bool {
	if p.files == nil {
		p.files = make(promises)
		if p.written != nil {
			p.files.read(p.written, p.base, func(string, error) {}) // a database that was only touched, or is not there: its files are told
		}
	}
	said, ok := p.files.of(name)
	if !ok || said.sum == "" || open == nil {
		return ok
	}
	r, err := open()
	if err != nil {
		return false
	}
	sum, err := sumLike(r, said.sum)
	return err == nil && sum == said.sum
}

// sumLike hashes a file with what a sum in hex was made with; "" where that isn't known.
func sumLike(r *io.SectionReader, sum string) (string, error) {
	var h hash.Hash
	switch len(sum) {
	case 2 * md5.Size:
		h = md5.New()
	case 2 * sha1.Size:
		h = sha1.New()
	case 2 * sha256.Size:
		h = sha256.New()
	case 2 * sha512.Size384:
		h = sha512.New384()
	case 2 * sha512.Size:
		h = sha512.New()
	default:
		return "", nil
	}
	var buf []byte
	return hashOf(r, h, &buf)
}

// programs are the paths of programs and libraries, which nothing but a package manager changes.
var programs = regexp.MustCompile(`^/(usr/)?(s?bin|libexec)/|^/(usr/)?lib(32|64|x32)?/(.*\.so(\.[0-9.]+)?$|systemd/[^/]+$|openssh/|security/|sudo/|udev/[^/]+$)`)

// verifyPackages compares the node's programs and libraries with what the
// databases of its package managers say, as debsums and rpm -V do.
func (f *nodeFinder) verifyPackages() error {
	if f.o.NoVerify || f.n.Tree == nil {
		return nil
	}
	said := f.promises()
	for _, name := range slices.Sorted(maps.Keys(said)) {
		if err := f.ctx.Err(); err != nil {
			return err
		}
		if one := said[name]; one.sum != "" && programs.MatchString(name) {
			f.n.guard(0, placeOf(nil, name), func() error { return f.verifyFile(name, one) })
		}
	}
	return nil
}

func (f *nodeFinder) verifyFile(name string, said promise) error {
	ino, err := evidence.Resolve(f.n.Tree, f.n.Tree.Root(), name, true)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed, or never unpacked: dpkg's path-exclude, rpm's nodocs
	}
	if err != nil {
		return err
	}
	info, err := f.n.Tree.Stat(ino)
	if err != nil || info.Type != evidence.TypeFile {
		return err
	}
	open := openInode(f.n.Tree, ino)
	r, err := open()
	if err != nil {
		return err
	}
	sum, err := sumLike(r, said.sum)
	if err != nil || sum == said.sum || sum == "" {
		return err
	}
	e := findings.Evidence{Kind: findings.KindFile, Place: placeOf(nil, name), Path: name, Offset: -1, Field: "digest", File: fileEvidence(&info, "", ""), Open: open}
	e.Value = fmt.Sprintf("package %s says %s, the file has %s", said.packageName, said.sum, sum)
	e.Time, e.TimeOf = info.Ctime, "changed"
	f.computed("package-file-changed", e)
	return nil
}

func openInode(fsys evidence.FS, ino evidence.Ino) func() (*io.SectionReader, error) {
	return func() (*io.SectionReader, error) { return fsys.Open(ino) }
}
