package analyzer

import (
	"context"

	"lagan/evidence"
)

// DeletedFile is a deleted inode of one volume.
type DeletedFile struct {
	evidence.DeletedInode
	Volume int
}

// Deleted calls fn for each inode that was deleted and has left traces, volume
// by volume, in the order of the disk.
func (n *Node) Deleted(ctx context.Context, fn func(DeletedFile) error) error {
	for _, v := range n.Volumes {
		d, ok := v.FS.(evidence.Deleter)
		if !ok {
			continue
		}
		var failed error
		n.guard(v.Index, "deleted inodes", func() error {
			for i, err := range d.Deleted() {
				if failed = ctx.Err(); failed != nil {
					return nil
				}
				if err != nil {
					n.gap(v.Index, "deleted inodes", err)
					continue
				}
				if failed = fn(DeletedFile{DeletedInode: i, Volume: v.Index}); failed != nil {
					return nil
				}
			}
			return nil
		})
		if failed != nil {
			return failed
		}
	}
	return nil
}
