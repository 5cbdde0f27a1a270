package analyzer

import (
	"fmt"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/timeline"
)

// tagRemoved marks what is told of objects that are no more.
const tagRemoved = "removed"

// removed tells the lives of removed containers, and the deleted files.
func (t *teller) removed() error {
	if !t.o.Removed {
		return nil
	}
	all, err := t.n.Removed(t.ctx)
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Object != runtimes.ObjectContainer || r.Container == nil || t.o.Scope == ScopeNode {
			continue
		}
		if err := t.container(r.Container); err != nil {
			return err
		}
		if err := t.gone(r); err != nil {
			return err
		}
	}
	if t.o.Scope == ScopeContainers || len(t.o.Containers) > 0 {
		return nil
	}
	_, owners, err := t.deletedByContainers()
	if err != nil {
		return err
	}
	return t.n.Recovered(t.ctx, func(f *RecoveredFile) error {
		if owners[f] != nil {
			return nil
		}
		return t.deletedFile(f)
	})
}

// gone tells by when a removed container was no more.
func (t *teller) gone(r *Removed) error {
	if r.GoneBy.IsZero() {
		return nil
	}
	c := r.Container
	t.r.Reset(timeline.ContainerConfiguration, t.containerCommon(c, "recover"))
	t.r.String(timeline.FieldDisplayName, "CONTAINER:"+c.DisplayName())
	t.r.String(timeline.FieldAction, "removed")
	t.r.String(timeline.FieldCommand, strings.Join(c.Command, " "))
	t.r.String(timeline.FieldTimeAssumption, fmt.Sprintf("at the latest, by %d traces", len(r.Traces)))
	t.r.Strings(timeline.FieldTag, []string{tagRemoved})
	t.r.Time(timeline.Deleted, r.GoneBy)
	t.r.Template(containerMessage)
	return t.tell()
}

// deletedFile tells the times that are left of a deleted file.
func (t *teller) deletedFile(f *RecoveredFile) error {
	t.r.Reset(timeline.FSStat, t.eventCommon(nil, "recover", f.Volume))
	path := f.Path
	if path == "" {
		path = fmt.Sprintf("/<deleted inode %d>", f.Ino)
	}
	t.r.Path("NODE:", path)
	i := &f.Info
	t.r.Bool(timeline.FieldIsAllocated, false)
	t.r.File(fileTypes[i.Type], i.Perm)
	t.r.Uint(timeline.FieldInode, uint64(f.Ino))
	if i.Size > 0 || f.Content != nil {
		t.r.Int(timeline.FieldFileSize, i.Size)
	}
	t.r.Int(timeline.FieldOwnerIdentifier, int64(i.UID))
	t.r.Int(timeline.FieldGroupIdentifier, int64(i.GID))
	t.r.Strings(timeline.FieldTag, []string{tagRemoved, strings.ReplaceAll("content_"+string(f.State), " ", "_")})
	if i.Type == evidence.TypeSymlink {
		t.r.String(timeline.FieldSymbolicLinkTarget, f.Target)
	}
	t.r.Time(timeline.Modified, i.Mtime)
	t.r.Time(timeline.Accessed, i.Atime)
	t.r.Time(timeline.MetadataChanged, i.Ctime)
	t.r.Time(timeline.Created, i.Btime)
	t.r.Time(timeline.Deleted, f.Deleted)
	if f.Deleted.IsZero() && !f.DeletedBy.IsZero() {
		t.r.Time(timeline.Deleted, f.DeletedBy)
		t.r.String(timeline.FieldTimeAssumption, "deleted at this time at the latest")
	}
	t.r.Template(timeline.FileMessage)
	return t.tell()
}
