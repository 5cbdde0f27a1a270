package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/evidence"
)

func newRecoverCommand(u *ui) *cobra.Command {
	return u.command(verb{
		use:   "recover EVIDENCE",
		short: "traces of what was deleted",
		long: `List deleted inodes that still have their times, and files that were deleted while a
process held them open, whose content is whole.`,
		examples: `
  lagan recover node.img.zst
  lagan recover node.img.zst --output jsonl | jq 'select(.open)'`,
		min: 1, max: 1,
		run: func(n *analyzer.Node, args []string) error {
			return u.write(func(w io.Writer) error {
				p := u.newPrinter(w, recoverColumns)
				err := n.Deleted(u.ctx, func(d analyzer.DeletedFile) error { return p.print((*deletedRecord)(&d)) })
				if err != nil {
					return err
				}
				return p.close(n)
			})
		},
	})
}

type deletedRecord analyzer.DeletedFile

var recoverColumns = columns{
	table: []string{"VOLUME", "INODE", "TYPE", "MODE", "UID", "GID", "SIZE", "MODIFIED", "DELETED", "CONTENT"},
	wide:  []string{"volume", "inode", "type", "mode", "uid", "gid", "size", "mtime", "atime", "ctime", "btime", "deleted", "content"},
}

// content says what is left of the file's content.
func (r *deletedRecord) content() string {
	if r.Open {
		return "whole"
	}
	return "times only"
}

func (r *deletedRecord) appendJSON(dst []byte) ([]byte, error) {
	i := &r.Info
	v := struct {
		Record  string `json:"record"`
		Volume  int    `json:"volume"`
		Inode   uint64 `json:"inode"`
		Type    string `json:"type,omitempty"`
		Mode    string `json:"mode,omitempty"`
		UID     uint32 `json:"uid"`
		GID     uint32 `json:"gid"`
		Size    *int64 `json:"size,omitempty"`
		Mtime   string `json:"mtime,omitempty"`
		Atime   string `json:"atime,omitempty"`
		Ctime   string `json:"ctime,omitempty"`
		Btime   string `json:"btime,omitempty"`
		Deleted string `json:"deleted,omitempty"`
		Open    bool   `json:"open,omitempty"`
		Content string `json:"content"`
	}{
		Record: "file", Volume: r.Volume, Inode: i.Inode, UID: i.UID, GID: i.GID, Mtime: formatTime(i.Mtime), Atime: formatTime(i.Atime),
		Ctime: formatTime(i.Ctime), Btime: formatTime(i.Btime), Deleted: formatTime(r.Deleted), Open: r.Open, Content: r.content(),
	}
	if i.Type != evidence.TypeUnknown {
		v.Type, v.Mode = i.Type.String(), octal(i.Perm)
	}
	if i.Size > 0 || r.Open {
		v.Size = &i.Size
	}
	return appendValue(dst, v)
}

func (r *deletedRecord) row(wide bool) []string {
	i := &r.Info
	kind, mode := "", ""
	if i.Type != evidence.TypeUnknown {
		kind, mode = i.Type.String(), octal(i.Perm)
	}
	row := []string{strconv.Itoa(r.Volume), fmt.Sprint(i.Inode), kind, mode, fmt.Sprint(i.UID), fmt.Sprint(i.GID), fmt.Sprint(i.Size), formatTime(i.Mtime)}
	if wide {
		row = append(row, formatTime(i.Atime), formatTime(i.Ctime), formatTime(i.Btime))
	}
	return append(row, formatTime(r.Deleted), r.content())
}
