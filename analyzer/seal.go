package analyzer

import (
	"fmt"

	"lagan/evidence"
	"lagan/overlay"
)

// seal tells what digest a metadata-only copy demands of the file's content, and
// that the content hasn't got it: whoever changed the layer below did not know,
// or the mount did not ask (verity=off). It is asked for where files are hashed.
func (l *lister) seal(f *File, ino evidence.Ino) error {
	view, ok := l.t.FS.(*overlay.FS)
	if !ok || !l.o.Hash {
		return nil
	}
	seal, err := view.Seal(ino)
	if err != nil || seal.IsZero() {
		return err
	}
	f.Verity = seal.String()
	r, err := l.t.Open(ino)
	if err != nil {
		return err
	}
	ok, err = seal.Check(r, r.Size())
	if err == nil && !ok {
		err = fmt.Errorf("the content has not the fs-verity digest %s that the overlay demands of it (or has a salt): %w", seal, evidence.ErrCorrupt)
	}
	return err
}
