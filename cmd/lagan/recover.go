package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/evidence"
	"lagan/internal/text"
	"lagan/runtimes"
)

func newRecoverCommand(u *ui) *cobra.Command {
	var files bool
	var extract string
	cmd := u.command(verb{
		use:   "recover EVIDENCE [CONTAINER|@node]",
		short: "what was deleted: containers, images, snapshots, pods, files",
		long: `List what was removed from the node, each once, with every trace of it: containers, images,
snapshots, pods, volumes, networks and blobs out of freed pages of the runtimes' databases, older
documents, folders without an owner, names in the slack of folders, journals and logs. EXISTED BY is the
earliest time at which a trace saw it, GONE BY the earliest at which it was no more. SURE is high where
a record and what leads to it agree, medium where one of them tells it, low where part is gone.

--files lists deleted files instead: of the whole disk, of the node's tree (@node), or those that lay in
a container's own layer. CONTENT is whole where every block is free and nothing says that any was used
since; unproven where the size or part of the history isn't known; partly overwritten; or times only.

--extract DIR writes the deleted files that have content into a new folder, as export --format dir does,
with a manifest that says of each what is left of it and where that was found.`,
		examples: `
  lagan recover node.img.zst
  lagan recover node.img.zst --output jsonl | jq 'select(.object=="container")'
  lagan recover node.img.zst --files @node
  lagan recover node.img.zst web-front --files --output jsonl | jq 'select(.content=="whole")'
  lagan recover node.img.zst --extract deleted`,
		min: 1, max: 2,
		check: func() error {
			if extract == "" {
				return nil
			}
			if u.outFile != "" {
				return usageError{errors.New("--extract and -o both say where to write")}
			}
			return u.outTo(extract)
		},
		run: func(n *analyzer.Node, args []string) error {
			spec := ""
			if len(args) > 1 {
				spec = args[1]
			}
			switch {
			case extract != "":
				return u.extract(n, spec)
			case files || spec != "":
				return u.write(func(w io.Writer) error { return u.printFiles(w, n, spec) })
			}
			return u.write(func(w io.Writer) error { return u.printRemoved(w, n) })
		},
	})
	cmd.Flags().BoolVar(&files, "files", false, "list deleted files")
	cmd.Flags().StringVar(&extract, "extract", "", "write the deleted files that have content into this new folder")
	return cmd
}

// outTo makes a folder the place that is written to.
func (u *ui) outTo(folder string) error {
	folder = filepath.Clean(folder)
	if _, err := os.Lstat(folder); err == nil {
		return usageError{fmt.Errorf("%s is there already: --extract makes a new folder", folder)}
	}
	u.outFile, u.outFiles = folder, []string{folder}
	return nil
}

// extract writes deleted files into a folder.
func (u *ui) extract(n *analyzer.Node, spec string) error {
	found, err := n.SelectRecovered(u.ctx, spec)
	if err != nil {
		return err
	}
	return n.ExportDir(u.ctx, n.RecoveredTree(found), u.outFile, analyzer.ExportOptions{Path: "/"})
}

func (u *ui) printRemoved(w io.Writer, n *analyzer.Node) error {
	all, err := n.Removed(u.ctx)
	if err != nil {
		return err
	}
	p := u.newPrinter(w, removedColumns)
	for _, r := range all {
		if err := p.print((*removedRecord)(r)); err != nil {
			return err
		}
	}
	return p.close(n)
}

func (u *ui) printFiles(w io.Writer, n *analyzer.Node, spec string) error {
	p := u.newPrinter(w, recoverColumns)
	print := func(f *analyzer.RecoveredFile) error { return p.print((*recoveredRecord)(f)) }
	var err error
	if spec == "" {
		err = n.Recovered(u.ctx, print)
	} else {
		var found []*analyzer.RecoveredFile
		found, err = n.SelectRecovered(u.ctx, spec)
		for i := 0; i < len(found) && err == nil; i++ {
			err = print(found[i])
		}
	}
	if err != nil {
		return err
	}
	return p.close(n)
}

// removedRecord is a removed object as recover prints it.
type removedRecord analyzer.Removed

var removedColumns = columns{
	table: []string{"OBJECT", "ID", "NAME", "RUNTIME", "IMAGE", "EXISTED BY", "GONE BY", "SURE", "TRACES"},
	wide: []string{"object", "id", "name", "runtime", "namespace", "image", "state", "created", "started", "finished", "exit_code",
		"existed_by", "last_seen", "gone_by", "sure", "traces"},
}

type traceRecord struct {
	Source  string `json:"source"`
	Place   string `json:"place,omitempty"`
	Offset  *int64 `json:"offset,omitempty"`
	Existed string `json:"existed,omitempty"`
	Gone    string `json:"gone,omitempty"`
	Sure    string `json:"sure"`
	Whole   bool   `json:"complete,omitempty"`
	Note    string `json:"note,omitempty"`
}

type valueRecord struct {
	Field  string `json:"field"`
	Value  string `json:"value"`
	Sure   string `json:"sure"`
	Source string `json:"source"`
}

func (r *removedRecord) image() string {
	switch {
	case r.Container != nil:
		return r.Container.Image
	case r.Image != nil && len(r.Image.Names) > 0:
		return r.Image.Names[0]
	}
	return ""
}

func (r *removedRecord) appendJSON(dst []byte) ([]byte, error) {
	v := struct {
		Record    string           `json:"record"`
		Object    string           `json:"object"`
		Removed   bool             `json:"removed"`
		ID        string           `json:"id,omitempty"`
		Name      string           `json:"name,omitempty"`
		Runtime   string           `json:"runtime,omitempty"`
		Namespace string           `json:"namespace,omitempty"`
		DataRoot  string           `json:"data_root,omitempty"`
		Image     string           `json:"image,omitempty"`
		PodName   string           `json:"pod_name,omitempty"`
		PodSpace  string           `json:"pod_namespace,omitempty"`
		PodUID    string           `json:"pod_uid,omitempty"`
		ExistedBy string           `json:"existed_by,omitempty"`
		LastSeen  string           `json:"last_seen,omitempty"`
		GoneBy    string           `json:"gone_by,omitempty"`
		Sure      string           `json:"sure"`
		Container *containerRecord `json:"container,omitempty"`
		Digest    string           `json:"digest,omitempty"`
		Snapshot  string           `json:"snapshot,omitempty"`
		Dir       string           `json:"dir,omitempty"`
		Values    []valueRecord    `json:"values,omitempty"`
		Traces    []traceRecord    `json:"traces"`
	}{
		Record: "removed", Object: string(r.Object), Removed: true, ID: r.ID, Name: r.Name, Runtime: string(r.Runtime), Namespace: r.Namespace, DataRoot: r.StorePath,
		Image: r.image(), PodName: r.Pod.Name, PodSpace: r.Pod.Namespace, PodUID: r.Pod.UID,
		ExistedBy: formatTime(r.ExistedBy), LastSeen: formatTime(r.LastSeen), GoneBy: formatTime(r.GoneBy), Sure: string(r.Sure),
	}
	if r.Container != nil && r.Object == runtimes.ObjectContainer {
		v.Container = newContainerRecord(r.Container)
	}
	if r.Image != nil {
		v.Digest = r.Image.Digest
	}
	if r.Snapshot != nil {
		v.Snapshot, v.Dir = r.Snapshot.ID, r.Snapshot.Dir
	}
	for _, o := range r.Values {
		v.Values = append(v.Values, valueRecord{o.Field, o.Value, string(o.Sure), o.Source})
	}
	for _, t := range r.Traces {
		tr := traceRecord{Source: t.Source, Place: t.Place, Existed: formatTime(t.Existed), Gone: formatTime(t.Gone), Sure: string(t.Sure), Whole: t.Complete, Note: t.Note}
		if t.Offset >= 0 {
			tr.Offset = &t.Offset
		}
		v.Traces = append(v.Traces, tr)
	}
	return appendValue(dst, v)
}

func (r *removedRecord) row(wide bool) []string {
	name := (*analyzer.Removed)(r).DisplayName()
	if !wide {
		id := r.ID
		if len(id) == 64 {
			id = id[:12]
		}
		if name == r.ID {
			name = ""
		}
		return []string{string(r.Object), id, name, string(r.Runtime), r.image(), shortTime(formatTime(r.ExistedBy)), shortTime(formatTime(r.GoneBy)), string(r.Sure), fmt.Sprint(len(r.Traces))}
	}
	c := &containerRecord{}
	if r.Container != nil {
		c = newContainerRecord(r.Container)
	}
	exit := ""
	if c.ExitCode != nil {
		exit = fmt.Sprint(*c.ExitCode)
	}
	var traces []string
	for _, t := range r.Traces {
		traces = append(traces, t.Source+": "+t.Place)
	}
	return []string{string(r.Object), r.ID, name, string(r.Runtime), r.Namespace, r.image(), c.State, c.Created, c.Started, c.Finished, exit,
		formatTime(r.ExistedBy), formatTime(r.LastSeen), formatTime(r.GoneBy), string(r.Sure), strings.Join(traces, "; ")}
}

// recoveredRecord is a deleted file as recover --files prints it.
type recoveredRecord analyzer.RecoveredFile

var recoverColumns = columns{
	table: []string{"VOLUME", "INODE", "TYPE", "MODE", "UID", "GID", "SIZE", "MODIFIED", "DELETED", "CONTENT", "PATH"},
	wide:  []string{"volume", "inode", "type", "mode", "uid", "gid", "size", "mtime", "atime", "ctime", "btime", "deleted", "deleted_by", "content", "lost", "source", "path"},
}

func (r *recoveredRecord) appendJSON(dst []byte) ([]byte, error) {
	i := &r.Info
	v := struct {
		Record    string   `json:"record"`
		Removed   bool     `json:"removed"`
		Volume    int      `json:"volume"`
		Inode     uint64   `json:"inode"`
		Path      string   `json:"path,omitempty"`
		PathRaw   []byte   `json:"path_raw,omitempty"`
		Paths     []string `json:"other_paths,omitempty"`
		Type      string   `json:"type,omitempty"`
		Mode      string   `json:"mode,omitempty"`
		UID       uint32   `json:"uid"`
		GID       uint32   `json:"gid"`
		Size      *int64   `json:"size,omitempty"`
		Target    string   `json:"target,omitempty"`
		Mtime     string   `json:"mtime,omitempty"`
		Atime     string   `json:"atime,omitempty"`
		Ctime     string   `json:"ctime,omitempty"`
		Btime     string   `json:"btime,omitempty"`
		Deleted   string   `json:"deleted,omitempty"`
		DeletedBy string   `json:"deleted_by,omitempty"`
		Open      bool     `json:"open,omitempty"`
		Content   string   `json:"content"`
		Lost      int64    `json:"lost,omitempty"`
		Source    string   `json:"source,omitempty"`
		Note      string   `json:"note,omitempty"`
	}{
		Record: "file", Removed: true, Volume: r.Volume, Inode: uint64(r.Ino), UID: i.UID, GID: i.GID, Mtime: formatTime(i.Mtime), Atime: formatTime(i.Atime),
		Ctime: formatTime(i.Ctime), Btime: formatTime(i.Btime), Deleted: formatTime(r.Deleted), DeletedBy: formatTime(r.DeletedBy), Open: r.Open,
		Content: string(r.State), Lost: r.Lost, Source: r.Source, Note: r.Note, Target: jsonText(r.Target),
	}
	v.Path = jsonText(r.Path)
	if v.Path != r.Path {
		v.PathRaw = []byte(r.Path)
	}
	for _, p := range r.Paths {
		v.Paths = append(v.Paths, jsonText(p))
	}
	if i.Type != evidence.TypeUnknown {
		v.Type, v.Mode = i.Type.String(), octal(i.Perm)
	}
	if i.Size > 0 || r.Open || r.Content != nil {
		v.Size = &i.Size
	}
	return appendValue(dst, v)
}

// jsonText is a name with its bad bytes escaped.
func jsonText(s string) string {
	t, _ := text.ForJSON(s)
	return t
}

func (r *recoveredRecord) row(wide bool) []string {
	i := &r.Info
	kind, mode := "", ""
	if i.Type != evidence.TypeUnknown {
		kind, mode = i.Type.String(), octal(i.Perm)
	}
	deleted := formatTime(r.Deleted)
	row := []string{fmt.Sprint(r.Volume), fmt.Sprint(uint64(r.Ino)), kind, mode, fmt.Sprint(i.UID), fmt.Sprint(i.GID), fmt.Sprint(i.Size)}
	if wide {
		return append(row, formatTime(i.Mtime), formatTime(i.Atime), formatTime(i.Ctime), formatTime(i.Btime), deleted, formatTime(r.DeletedBy),
			string(r.State), fmt.Sprint(r.Lost), r.Source, r.Path)
	}
	if deleted == "" && !r.DeletedBy.IsZero() {
		deleted = "by " + shortTime(formatTime(r.DeletedBy))
	} else {
		deleted = shortTime(deleted)
	}
	return append(row, shortTime(formatTime(i.Mtime)), deleted, string(r.State), r.Path)
}
