package analyzer

import (
	"fmt"
	"iter"

	"lagan/artifacts/rpm"
	"lagan/internal/sqlite"
	"lagan/timeline"
)

// rpmDatabases are the places of rpm's database: of Fedora since 36 and SUSE
// below /usr/lib/sysimage, of image-based systems below /usr/share.
var (
	rpmSQLite    = []string{"var/lib/rpm/rpmdb.sqlite", "usr/lib/sysimage/rpm/rpmdb.sqlite", "usr/share/rpm/rpmdb.sqlite"}
	rpmDatabases = []string{"var/lib/rpm/Packages", "var/lib/rpm/Packages.db", "usr/lib/sysimage/rpm/Packages", "usr/lib/sysimage/rpm/Packages.db", "usr/share/rpm/Packages"}
)

var rpmMessage = timeline.NewTemplate("Package {packages} installed, {description}")

func (t *teller) rpmDatabase(a *artifact) error {
	packages, err := rpm.Packages(a.file, a.file.Size())
	if err != nil {
		return fmt.Errorf("rpm's database: %w", err)
	}
	return t.rpmPackages(a, packages)
}

func (t *teller) rpmSQLite(a *artifact) error {
	db, err := sqlite.Open(a.file, a.beside("-wal"), a.beside("-journal"), func(err error) { t.wrong(a, err) })
	if err != nil {
		return fmt.Errorf("rpm's database: %w", err)
	}
	return t.rpmPackages(a, rpmRows(db))
}

// rpmRows are the packages of a database in SQLite.
func rpmRows(db *sqlite.DB) iter.Seq2[rpm.Package, error] {
	return func(yield func(rpm.Package, error) bool) {
		for row, err := range db.Rows("Packages") {
			var p rpm.Package
			if err == nil {
				p, err = rpm.ParseHeader([]byte(row.Text("blob")))
				p.Offset = row.ID
			}
			if !yield(p, err) {
				return
			}
		}
	}
}

func (t *teller) rpmPackages(a *artifact, packages iter.Seq2[rpm.Package, error]) error {
	common := t.artifactCommon(a, "rpm")
	return each(t, a, packages, func(p *rpm.Package) {
		t.r.Reset(timeline.RPMPackage, common)
		t.r.Path(a.prefix, a.path)
		t.r.Int(timeline.FieldOffset, p.Offset)
		t.r.Time(timeline.Installed, p.Installed)
		t.r.String(timeline.FieldPackages, p.NEVRA())
		t.r.String(timeline.FieldPackageName, p.Name)
		t.r.String(timeline.FieldPackageVersion, p.EVR())
		t.r.String(timeline.FieldArchitecture, p.Arch)
		t.r.String(timeline.FieldAuthor, firstOf(p.Vendor, p.Packager))
		t.r.String(timeline.FieldDescription, p.Summary)
		t.body(p.NEVRA())
		t.r.Template(rpmMessage)
	})
}
