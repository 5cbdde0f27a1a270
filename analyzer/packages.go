package analyzer

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"lagan/artifacts/rpm"
	"lagan/evidence"
	"lagan/internal/sqlite"
)

// promise is what a package manager's database says of a file.
type promise struct {
	packageName string
	sum         string // of its content, in hex: MD5, SHA-1, SHA-256, -384 or -512 by its length; "" none is told
}

// promises are the files that packages have, by their paths as the packages name them.
type promises map[string]promise

// of returns what is said of a path, also where /bin and /lib are links to
// those of /usr, which packages may name either way.
func (p promises) of(name string) (promise, bool) {
	if said, ok := p[name]; ok {
		return said, true
	}
	if short, ok := strings.CutPrefix(name, "/usr/"); ok {
		if said, ok := p["/"+short]; ok {
			return said, true
		}
	}
	said, ok := p["/usr"+name]
	return said, ok
}

// Bounds on what is read of package databases.
const (
	maxPackageList  = 64 << 20  // one list, and one database of apk
	maxPackageLists = 256 << 20 // all lists of one tree
	maxPromises     = 4_000_000
)

// read adds what the databases of a tree say. Lists and records that an older
// tree has alike are left out: see packageLists. What can't be read is told to wrong.
func (p promises) read(fsys, old evidence.FS, wrong func(at string, err error)) {
	p.dpkg(fsys, old, wrong)
	for _, name := range []string{"lib/apk/db/installed", "usr/lib/apk/db/installed"} {
		p.apk(fsys, old, name, wrong)
	}
	p.rpm(fsys, old, wrong)
}

// rpm reads what packages of rpm say. Those that the old tree has too are left out.
func (p promises) rpm(fsys, old evidence.FS, wrong func(string, error)) {
	had := make(map[string]bool)
	for at, packages := range rpmDatabasesOf(fsys, wrong) {
		if old != nil && len(had) == 0 {
			for _, before := range rpmDatabasesOf(old, func(string, error) {}) { // told with the image
				for one, err := range before {
					if err == nil {
						had[one.NEVRA()] = true
					}
				}
			}
		}
		for one, err := range packages {
			if err != nil {
				wrong(at, err)
				continue
			}
			name := one.NEVRA()
			if had[name] {
				continue
			}
			for file, err := range one.Files() {
				if err != nil {
					wrong(at, err)
					continue
				}
				if !file.Ghost && len(p) < maxPromises {
					said := promise{packageName: name}
					if !file.Config {
						said.sum = strings.ToLower(file.Digest)
					}
					p[file.Path] = said
				}
			}
		}
	}
}

// dpkg reads the lists of files and their MD5 sums, which leave out what is configuration.
func (p promises) dpkg(fsys, old evidence.FS, wrong func(string, error)) {
	total := 0
	read := func(name string, ino evidence.Ino) string {
		b, err := evidence.ReadInode(fsys, ino, maxPackageList)
		if err != nil {
			if !errors.Is(err, evidence.ErrFormat) {
				wrong("/"+name, err)
			}
			return ""
		}
		if total += len(b); total > maxPackageLists {
			return ""
		}
		had := ""
		if old != nil {
			if b, err := evidence.ReadFile(old, old.Root(), name, maxPackageList); err == nil {
				had = string(b)
			}
		}
		return addedLines(string(b), had)
	}
	for name, ino := range glob(fsys, "var/lib/dpkg/info/*.list") {
		one := promise{packageName: packageOf(name, ".list")}
		for l := range strings.Lines(read(name, ino)) {
			if l = strings.TrimSuffix(l, "\n"); len(p) < maxPromises {
				p[l] = one
			}
		}
	}
	for name, ino := range glob(fsys, "var/lib/dpkg/info/*.md5sums") {
		for l := range strings.Lines(read(name, ino)) {
			if sum, file, ok := strings.Cut(strings.TrimSuffix(l, "\n"), "  "); ok && len(sum) == 32 && len(p) < maxPromises {
				p["/"+file] = promise{packageOf(name, ".md5sums"), strings.ToLower(sum)}
			}
		}
	}
	p.diverted(fsys)
}

// diverted drops the sums of files that dpkg-divert puts elsewhere: three lines
// each, the file, where its package's goes, and who asked.
func (p promises) diverted(fsys evidence.FS) {
	b, err := evidence.ReadFile(fsys, fsys.Root(), "var/lib/dpkg/diversions", maxPackageList)
	if err != nil {
		return // there are none
	}
	lines := strings.Split(string(b), "\n")
	for i := 0; i+2 < len(lines); i += 3 {
		if said, ok := p[lines[i]]; ok {
			p[lines[i]] = promise{packageName: said.packageName}
		}
	}
}

func packageOf(name, ext string) string {
	return strings.TrimSuffix(name[strings.LastIndexByte(name, '/')+1:], ext)
}

// apk reads Alpine's database: blocks of lines, of which P: and V: name a package,
// F: a folder, R: a file in it and Z: its SHA-1 (Q1 and base64). Blocks that the old tree has are left out.
func (p promises) apk(fsys, old evidence.FS, name string, wrong func(string, error)) {
	ino, err := evidence.Resolve(fsys, fsys.Root(), name, false)
	if err != nil {
		return // it is no Alpine
	}
	now, err := evidence.ReadInode(fsys, ino, maxPackageList)
	if err != nil {
		wrong("/"+name, err)
		return
	}
	had := make(map[string]bool)
	if old != nil {
		if b, err := evidence.ReadFile(old, old.Root(), name, maxPackageList); err == nil {
			for block := range strings.SplitSeq(string(b), "\n\n") {
				had[strings.TrimSpace(block)] = true
			}
		}
	}
	for block := range strings.SplitSeq(string(now), "\n\n") {
		if had[strings.TrimSpace(block)] {
			continue
		}
		var pkg, dir, file string
		for l := range strings.Lines(block) {
			switch key, value, _ := strings.Cut(strings.TrimRight(l, "\n"), ":"); key {
			case "P":
				pkg = value
			case "F":
				dir = value
			case "R":
				if file = "/" + join(dir, value); len(p) < maxPromises {
					p[file] = promise{packageName: pkg}
				}
			case "Z":
				raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(value, "Q1"))
				if err == nil && len(raw) == 20 && !strings.HasPrefix(file, "/etc/") && p[file].packageName == pkg {
					p[file] = promise{pkg, hex.EncodeToString(raw)}
				}
			}
		}
	}
}

// rpmDatabasesOf yields rpm's databases of a tree, in any of its three forms.
func rpmDatabasesOf(fsys evidence.FS, wrong func(string, error)) iter.Seq2[string, iter.Seq2[rpm.Package, error]] {
	open := func(name string) *io.SectionReader {
		ino, err := evidence.Resolve(fsys, fsys.Root(), name, false)
		if err != nil {
			return nil
		}
		r, err := fsys.Open(ino)
		if err != nil {
			wrong("/"+name, err)
			return nil
		}
		return r
	}
	return func(yield func(string, iter.Seq2[rpm.Package, error]) bool) {
		for _, name := range rpmSQLite {
			r := open(name)
			if r == nil {
				continue
			}
			db, err := sqlite.Open(r, besideOf(open(name+"-wal")), besideOf(open(name+"-journal")), func(err error) { wrong("/"+name, err) })
			if err != nil {
				wrong("/"+name, fmt.Errorf("rpm's database: %w", err))
			} else if !yield("/"+name, rpmRows(db)) {
				return
			}
		}
		for _, name := range rpmDatabases {
			r := open(name)
			if r == nil {
				continue
			}
			packages, err := rpm.Packages(r, r.Size())
			if err != nil {
				wrong("/"+name, fmt.Errorf("rpm's database: %w", err))
			} else if !yield("/"+name, packages) {
				return
			}
		}
	}
}

// besideOf is a file for SQLite, nil where there is none: an interface that holds
// a nil pointer would not be nil.
func besideOf(r *io.SectionReader) sqlite.File {
	if r == nil {
		return nil
	}
	return r
}
