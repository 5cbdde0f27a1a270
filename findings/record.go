package findings

import (
	"encoding/base64"
	"fmt"
	"time"

	"lagan/internal/text"
)

// Record is a finding as JSON has it: text is UTF-8, what is unknown is left out.
type Record struct {
	Record         string           `json:"record"` // finding
	Rule           string           `json:"rule"`
	Severity       string           `json:"severity"`
	Title          string           `json:"title"`
	Description    string           `json:"description,omitempty"`
	Techniques     []string         `json:"techniques,omitempty"`
	FalsePositives string           `json:"false_positives,omitempty"`
	Object         string           `json:"object"`
	Container      *Container       `json:"container,omitempty"`
	Image          string           `json:"image,omitempty"`
	First          string           `json:"first,omitempty"`
	Last           string           `json:"last,omitempty"`
	EvidenceCount  int              `json:"evidence_count"`
	Evidence       []EvidenceRecord `json:"evidence"`
	Tags           []string         `json:"tags,omitempty"`
}

// EvidenceRecord is a piece of evidence as JSON has it.
type EvidenceRecord struct {
	Kind      string      `json:"kind"`
	Place     string      `json:"place"`
	Path      string      `json:"path,omitempty"`
	PathRaw   string      `json:"path_raw,omitempty"`
	Container *Container  `json:"container,omitempty"`
	Time      string      `json:"time,omitempty"`
	TimeOf    string      `json:"time_of,omitempty"`
	Field     string      `json:"field,omitempty"`
	Value     string      `json:"value,omitempty"`
	Offset    *int64      `json:"offset,omitempty"`
	File      *FileRecord `json:"file,omitempty"`
}

// FileRecord is a file of evidence as JSON has it, in the words of ls.
type FileRecord struct {
	Change string `json:"change,omitempty"`
	Mode   string `json:"mode"`
	UID    uint32 `json:"uid"`
	GID    uint32 `json:"gid"`
	Size   int64  `json:"size"`
	Inode  uint64 `json:"inode,omitempty"`
	Target string `json:"target,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	Mtime  string `json:"mtime,omitempty"`
	Atime  string `json:"atime,omitempty"`
	Ctime  string `json:"ctime,omitempty"`
	Btime  string `json:"btime,omitempty"`
}

const timeFormat = "2006-01-02T15:04:05.000000000Z"

func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(timeFormat)
}

// clean is text for JSON.
func clean(s string) string {
	s, _ = text.ForJSON(s)
	return s
}

func (c *Container) clean() *Container {
	if c == nil {
		return nil
	}
	return &Container{
		ID: clean(c.ID), Name: clean(c.Name), Runtime: clean(c.Runtime), Image: clean(c.Image), Pod: clean(c.Pod), PodUID: clean(c.PodUID),
		Namespace: clean(c.Namespace), Sandbox: clean(c.Sandbox),
	}
}

// Record returns the finding for JSON.
func (f *Finding) Record() Record {
	r := Record{
		Record: "finding", Rule: f.Rule.ID, Severity: f.Severity.String(), Title: clean(f.Rule.Title), Description: clean(f.Rule.Description),
		Techniques: f.Rule.Techniques(), FalsePositives: clean(f.Rule.Harmless()), Object: clean(f.Object()), Container: f.Container.clean(),
		Image: clean(f.Image), First: formatTime(f.First), Last: formatTime(f.Last), EvidenceCount: f.Total, Tags: f.Rule.Tags,
		Evidence: make([]EvidenceRecord, 0, len(f.Evidence)),
	}
	for i := range f.Evidence {
		r.Evidence = append(r.Evidence, f.Evidence[i].record())
	}
	return r
}

func (e *Evidence) record() EvidenceRecord {
	out := EvidenceRecord{
		Kind: e.Kind, Place: clean(e.Place), Container: e.Container.clean(), Time: formatTime(e.Time), TimeOf: e.TimeOf,
		Field: e.Field, Value: clean(e.Value),
	}
	path, valid := text.ForJSON(e.Path)
	out.Path = path
	if !valid {
		out.PathRaw = base64.StdEncoding.EncodeToString([]byte(e.Path))
	}
	if e.Offset >= 0 {
		out.Offset = &e.Offset
	}
	if f := e.File; f != nil {
		out.File = &FileRecord{
			Change: f.Change, Mode: fmt.Sprintf("%04o", f.Mode), UID: f.UID, GID: f.GID, Size: f.Size, Inode: f.Inode, Target: clean(f.Target), SHA256: f.SHA256,
			Mtime: formatTime(f.Mtime), Atime: formatTime(f.Atime), Ctime: formatTime(f.Ctime), Btime: formatTime(f.Btime),
		}
	}
	return out
}
