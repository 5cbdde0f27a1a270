package analyzer

import (
	"encoding/hex"
	"strings"

	"lagan/evidence"
	"lagan/timeline"
)

var recoveredMessage = timeline.NewTemplate("{display_name} Type: {file_entry_type} Owner identifier: {owner_identifier} Group identifier: {group_identifier} Mode: 0o{mode:o} deleted, content: {status}")

// upperDir is a folder that a container wrote to, as the node named it.
type upperDir struct {
	dir       string
	container *Container
	common    *timeline.Common
}

// recovered tells the files that containers had made themselves and deleted:
// no whiteout marks them, but the filesystem's own structures have traces. The
// node's deleted files are told where they are asked for (removed).
func (t *teller) recovered() error {
	files, owners, err := t.deletedByContainers()
	if err != nil {
		return err
	}
	for _, f := range files {
		if u := owners[f]; u != nil {
			if err := t.recoveredFile(f, u); err != nil {
				return err
			}
		}
	}
	return nil
}

// deletedByContainers lists the deleted files, with the containers whose own folder
// they lay in: those are told as theirs, and not as the node's too.
func (t *teller) deletedByContainers() ([]*RecoveredFile, map[*RecoveredFile]*upperDir, error) {
	uppers := t.upperDirs()
	if len(uppers) == 0 {
		return nil, nil, nil
	}
	files, err := t.n.recoveredFiles(t.ctx)
	if err != nil {
		return nil, nil, err
	}
	owners := map[*RecoveredFile]*upperDir{}
	newest := newestOf(files)
	for _, f := range files {
		if newest[oldPath{f.Volume, f.Ino, f.Path}] != f {
			continue // what the number was used for before had another name
		}
		if u := upperOf(uppers, f.Path); u != nil {
			owners[f] = u
		}
	}
	return files, owners, nil
}

// upperOf finds the folder that a path lies in, nil where none is a container's.
func upperOf(uppers []upperDir, path string) *upperDir {
	for i := range uppers {
		if strings.HasPrefix(path, uppers[i].dir) {
			return &uppers[i]
		}
	}
	return nil
}

// oldPath is a path that a number of an inode had.
type oldPath struct {
	volume int
	ino    evidence.Ino
	path   string
}

// newestOf finds the last file that had a number and a path: what is known of a
// name is which number it led to, and numbers are used again.
func newestOf(files []*RecoveredFile) map[oldPath]*RecoveredFile {
	newest := make(map[oldPath]*RecoveredFile)
	for _, f := range files {
		key := oldPath{f.Volume, f.Ino, f.Path}
		if old := newest[key]; old == nil || f.Info.Ctime.After(old.Info.Ctime) {
			newest[key] = f
		}
	}
	return newest
}

func (t *teller) upperDirs() []upperDir {
	var out []upperDir
	if t.o.Scope == ScopeNode {
		return nil
	}
	for _, c := range t.n.Containers() {
		if dir := c.Rootfs.Upper.Dir; dir != "" && !c.Rootfs.Upper.Image && t.wanted(c) {
			out = append(out, upperDir{strings.TrimSuffix(dir, "/") + "/", c, t.containerCommon(c, "recovered")})
		}
	}
	return out
}

// recoveredFile tells one deleted file of a container.
func (t *teller) recoveredFile(f *RecoveredFile, u *upperDir) error {
	t.r.Reset(timeline.FSStat, u.common)
	t.r.Path("CONTAINER:"+u.container.DisplayName()+":", "/"+strings.TrimPrefix(f.Path, u.dir))
	t.r.String(timeline.FieldChangeKind, "deleted")
	t.r.String(timeline.FieldLayerSource, "upper")
	t.r.String(timeline.FieldBackingPath, strings.TrimSuffix(u.dir, "/"))
	t.r.String(timeline.FieldSnapshotKey, u.container.Snapshot)
	t.recoveredFields(f)
	t.r.Template(recoveredMessage)
	return t.tell()
}

func (t *teller) recoveredFields(f *RecoveredFile) {
	i := &f.Info
	t.r.Bool(timeline.FieldIsAllocated, false)
	t.r.File(fileTypes[i.Type], i.Perm)
	t.r.Uint(timeline.FieldInode, i.Inode)
	t.r.Int(timeline.FieldFileSize, i.Size)
	t.r.Int(timeline.FieldOwnerIdentifier, int64(i.UID))
	t.r.Int(timeline.FieldGroupIdentifier, int64(i.GID))
	t.r.String(timeline.FieldSymbolicLinkTarget, f.Target)
	t.r.String(timeline.FieldStatus, string(f.State))
	t.r.String(timeline.FieldEventSource, f.Source)
	t.r.String(timeline.FieldComment, f.Note)
	if t.o.Hash && f.State == evidence.ContentWhole && f.Content != nil {
		t.r.String(timeline.FieldSHA256Hash, hex.EncodeToString(t.sum(f.Content, f.Volume, f.Path)))
	}
	switch {
	case !f.Deleted.IsZero():
		t.r.Time(timeline.ContentDeleted, f.Deleted)
	case !f.DeletedBy.IsZero():
		t.r.Time(timeline.ContentDeleted, f.DeletedBy)
		t.r.String(timeline.FieldTimeAssumption, "the first time at which the file was known to be gone")
	case !i.Ctime.IsZero() && f.Path != "":
		t.r.Time(timeline.ContentDeleted, i.Ctime)
		t.r.String(timeline.FieldTimeAssumption, "when the file was deleted is not known: shown is its last change, by then it was still there")
	}
	t.r.Time(timeline.Modified, i.Mtime)
	t.r.Time(timeline.Accessed, i.Atime)
	t.r.Time(timeline.MetadataChanged, i.Ctime)
	t.r.Time(timeline.Created, i.Btime)
}
