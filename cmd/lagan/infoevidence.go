package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"lagan/analyzer"
	"lagan/internal/text"
)

// evidenceRecord is what info says of one disk, image or folder.
type evidenceRecord struct {
	Path      string            `json:"path"`
	Format    string            `json:"format"`
	Size      *int64            `json:"size,omitempty"`
	Files     []string          `json:"files,omitempty"` // where it is in several
	MD5       string            `json:"md5,omitempty"`
	SHA1      string            `json:"sha1,omitempty"`
	SHA256    string            `json:"sha256,omitempty"`
	Stored    map[string]string `json:"stored_hashes,omitempty"`
	Matches   *bool             `json:"matches_stored,omitempty"`
	Notes     map[string]string `json:"acquisition,omitempty"`
	Snapshot  string            `json:"snapshot,omitempty"` // the id of the internal one that is read
	Snapshots []diskSnapshot    `json:"snapshots,omitempty"`
	Parents   []string          `json:"parents,omitempty"`
}

// diskSnapshot is an internal snapshot of an image.
type diskSnapshot struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Time string `json:"time,omitempty"`
	Size int64  `json:"size"`
}

// mountRecord says what the node's tree shows at a path.
type mountRecord struct {
	Path   string `json:"path"`
	Volume int    `json:"volume,omitempty"`
	What   string `json:"what,omitempty"`
	From   string `json:"from"`
}

func (u *ui) evidenceRecord(n *analyzer.Node, e *analyzer.Evidence, hash bool) (evidenceRecord, error) {
	r := evidenceRecord{Path: e.Path, Format: e.Format, Stored: e.Stored, Notes: e.Notes, Snapshot: e.Snapshot, Parents: e.Parents}
	if e.Size >= 0 {
		r.Size = &e.Size
	}
	if len(e.Files) > 1 {
		r.Files = e.Files
	}
	for _, s := range e.Snapshots {
		r.Snapshots = append(r.Snapshots, diskSnapshot{s.ID, s.Name, formatTime(s.Time), s.Size})
	}
	if !hash {
		return r, nil
	}
	h, err := n.Hash(u.ctx, e)
	if err != nil {
		return r, err
	}
	r.MD5, r.SHA1, r.SHA256 = h.MD5, h.SHA1, h.SHA256
	if h.MD5 != "" && len(h.Stored) > 0 {
		matches := len(h.Differ()) == 0
		r.Matches = &matches
	}
	return r, nil
}

// print writes the record for people.
func (e *evidenceRecord) print(w io.Writer) {
	fmt.Fprintf(w, "evidence  %s  %s", text.ForTerminal(e.Path), e.Format)
	if e.Size != nil {
		fmt.Fprintf(w, "  %s", bytesText(*e.Size))
	}
	if len(e.Files) > 0 {
		fmt.Fprintf(w, "  in %d files", len(e.Files))
	}
	fmt.Fprintln(w)
	lines := [][2]string{{"MD5", e.MD5}, {"SHA-1", e.SHA1}, {"SHA-256", e.SHA256}, {"stored MD5", e.Stored["md5"]}, {"stored SHA-1", e.Stored["sha1"]}}
	if e.Matches != nil {
		lines = append(lines, [2]string{"compared", map[bool]string{true: "as stored", false: "NOT as stored"}[*e.Matches]})
	}
	for _, name := range slices.Sorted(maps.Keys(e.Notes)) {
		lines = append(lines, [2]string{name, e.Notes[name]})
	}
	for _, s := range e.Snapshots {
		read := ""
		if s.ID == e.Snapshot {
			read = "  (read)"
		}
		lines = append(lines, [2]string{"snapshot " + s.ID, fmt.Sprintf("%s  %s  %s%s", s.Name, s.Time, bytesText(s.Size), read)})
	}
	for _, p := range e.Parents {
		lines = append(lines, [2]string{"changes of", p})
	}
	for _, l := range lines {
		if l[1] != "" {
			fmt.Fprintf(w, "  %-13s %s\n", text.ForTerminal(l[0]), text.ForTerminal(l[1]))
		}
	}
}

// printMounts says how volumes were joined, where there is more to say than the
// list of volumes does.
func (r *infoRecord) printMounts(w io.Writer) error {
	if len(r.Mounts) < 2 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "\nMOUNTED AT\tVOLUME\tWHAT\tFROM")
	for _, m := range r.Mounts {
		number := ""
		if m.Volume > 0 {
			number = fmt.Sprint(m.Volume)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", text.ForTerminal(m.Path), number, text.ForTerminal(m.What), text.ForTerminal(m.From))
	}
	return t.Flush()
}
