package analyzer

import (
	"io"
	"net/netip"
	"time"

	"lagan/evidence"
	"lagan/internal/sqlite"
	"lagan/timeline"
)

// wtmpdbTypes are the values of wtmp.Type (wtmpdb's lib/wtmpdb.h), which are
// not those of utmp.
var wtmpdbTypes = map[int64]string{0: "EMPTY", 1: "BOOT_TIME", 2: "RUN_LVL", 3: "USER_PROCESS"}

// wtmpdb tells the logins of wtmpdb, which takes wtmp's place where times are
// to last beyond 2038: its one table has login and logout in microseconds.
func (t *teller) wtmpdb(a *artifact) error {
	return t.rows(a, "wtmp", "wtmpdb", func(r sqlite.Row) {
		for _, f := range []struct {
			column string
			desc   timeline.Desc
		}{{"Login", timeline.Started}, {"Logout", timeline.Ended}} {
			if usec, ok := r.Int(f.column); ok && usec > 0 {
				t.r.Time(f.desc, time.UnixMicro(usec).UTC())
			}
		}
		t.r.String(timeline.FieldUsername, r.Text("User"))
		if typ, ok := r.Int("Type"); ok {
			t.r.String(timeline.FieldLoginType, wtmpdbTypes[typ])
		}
		t.r.Template(loginMessage)
	})
}

// lastlog2 tells the last logins of lastlog2, lastlog's successor, in seconds.
func (t *teller) lastlog2(a *artifact) error {
	return t.rows(a, "Lastlog2", "lastlog2", func(r sqlite.Row) {
		if sec, ok := r.Int("Time"); ok && sec > 0 {
			t.r.Time(timeline.LastLogin, time.Unix(sec, 0).UTC())
		}
		t.r.String(timeline.FieldUsername, r.Text("Name"))
		t.r.String(timeline.FieldLoginType, "LASTLOG")
		t.r.Template(lastLoginMessage)
	})
}

// rows makes a record of each row of a table of logins.
func (t *teller) rows(a *artifact, table, parser string, record func(sqlite.Row)) error {
	common := t.artifactCommon(a, parser)
	db, err := sqlite.Open(a.file, a.beside("-wal"), a.beside("-journal"), func(err error) { t.wrong(a, err) })
	if err != nil {
		return err
	}
	number := int64(0)
	return each(t, a, db.Rows(table), func(r *sqlite.Row) {
		t.r.Reset(timeline.Utmp, common)
		t.r.Path(a.prefix, a.path)
		number++
		t.r.Int(timeline.FieldOffset, number)
		t.r.String(timeline.FieldTerminal, r.Text("TTY"))
		t.r.String(timeline.FieldReporter, r.Text("Service"))
		host := r.Text("RemoteHost")
		t.r.String(timeline.FieldHostname, host)
		if ip, err := netip.ParseAddr(host); err == nil {
			t.r.String(timeline.FieldIPAddress, ip.WithZone("").String())
		}
		record(*r)
	})
}

// beside opens the file whose name adds an ending to the artifact's, nil where there is none.
func (a *artifact) beside(ending string) sqlite.File {
	ino, err := evidence.Resolve(a.written, a.written.Root(), a.path+ending, false)
	if err != nil {
		return nil
	}
	info, err := a.written.Stat(ino)
	if err != nil || info.Type != evidence.TypeFile {
		return nil
	}
	f, err := a.written.Open(ino)
	if err != nil {
		return nil
	}
	return io.NewSectionReader(f, 0, f.Size())
}
