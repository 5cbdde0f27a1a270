// Package batch runs one analysis over many pieces of evidence, in folders that
// are whole or absent, and joins and compares what came of them.
//
// It knows nothing of how evidence is read: Run is given the work, and keeps
// what was done, what failed and what has to be done again. A snapshot's folder
// is written under a temporary name beside its place, each file synced, with
// DoneFile last, and renamed; whatever ends the process leaves it whole or
// absent. There is no scheduler here: a manifest is cut into shards by number,
// and Slurm, Kubernetes, AWS Batch and others say which is meant (Index).
//
// Names in a manifest become names of folders, and are refused where they
// could lead elsewhere.
package batch

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Snapshot is one piece of evidence of a manifest.
type Snapshot struct {
	Name     string   `json:"name"`
	Evidence string   `json:"evidence"`
	Disks    []string `json:"disks,omitempty"`   // further disks of the same node
	Options  []string `json:"options,omitempty"` // flags that say how it is opened
}

const (
	// maxManifest bounds a manifest: 100 bytes for each of 600,000 snapshots.
	maxManifest = 64 << 20
	// maxNameLength leaves room for what is added to the name of a folder while it is written.
	maxNameLength = 200
)

// ReadManifest reads what a batch is to do. path is a folder, in which every
// file and folder is evidence but what goes with another (x.E02 with x.E01), or
// a file: lines of paths, CSV with a line of headings (evidence, name, disks,
// options), or JSON lines of the same. Paths are relative to where the manifest lies;
// a snapshot of a cloud's volume (ebs:snap-0123456789abcdef0) is evidence too.
func ReadManifest(path string) ([]Snapshot, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	var all []Snapshot
	dir := filepath.Dir(path)
	if info.IsDir() {
		dir = path
		all, err = readFolder(path)
	} else {
		var b []byte
		if b, err = readFile(path); err == nil {
			all, err = parseManifest(b)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", path, err)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("manifest %s names no evidence", path)
	}
	for i := range all {
		all[i].Evidence = under(dir, all[i].Evidence)
		for j, d := range all[i].Disks {
			all[i].Disks[j] = under(dir, d)
		}
	}
	if err := nameAll(all); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", path, err)
	}
	return all, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if len(b) > maxManifest {
		return nil, fmt.Errorf("more than %d MiB: this is no manifest", maxManifest>>20)
	}
	return b, err
}

// elsewhere matches evidence that is no file of this machine: the snapshot of a
// cloud's volume, which never changes.
var elsewhere = regexp.MustCompile(`^ebs:[a-z0-9/-]*snap-[0-9a-f]+$`)

func under(dir, path string) string {
	if filepath.IsAbs(path) || elsewhere.MatchString(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// continued matches files that are parts of another: segments of E01 and of split raw images.
var continued = regexp.MustCompile(`(?i)\.(e(0[2-9]|[1-9][0-9]|[a-z]{2})|(00[2-9]|0[1-9][0-9]|[1-9][0-9]{2}))$`)

func readFolder(path string) ([]Snapshot, error) {
	list, err := os.ReadDir(path) // in name order
	if err != nil {
		return nil, err
	}
	var out []Snapshot
	for _, e := range list {
		if !strings.HasPrefix(e.Name(), ".") && (e.IsDir() || !continued.MatchString(e.Name())) {
			out = append(out, Snapshot{Evidence: e.Name()})
		}
	}
	return out, nil
}

func parseManifest(b []byte) ([]Snapshot, error) {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return nil, fmt.Errorf("a zero byte at offset %#x: a manifest is text in UTF-8", i)
	}
	first := firstLine(b)
	switch {
	case strings.HasPrefix(first, "{"):
		return parseJSONL(b)
	case strings.HasPrefix(first, "[{"), first == "[":
		return nil, errors.New("a JSON array: a manifest has one object a line")
	case hasHeadings(first):
		return parseCSV(b)
	}
	var out []Snapshot
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			out = append(out, Snapshot{Evidence: line})
		}
	}
	return out, nil
}

// firstLine returns the first line that is neither empty nor a comment.
func firstLine(b []byte) string {
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return line
		}
	}
	return ""
}

func parseJSONL(b []byte) ([]Snapshot, error) {
	var out []Snapshot
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, maxManifest)
	for n := 1; lines.Scan(); n++ {
		if line := bytes.TrimSpace(lines.Bytes()); len(line) == 0 || line[0] == '#' {
			continue
		}
		var s Snapshot
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.DisallowUnknownFields()
		if err := d.Decode(&s); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if d.More() {
			return nil, fmt.Errorf("line %d has more than one object", n)
		}
		if s.Evidence == "" {
			return nil, fmt.Errorf("line %d names no evidence", n)
		}
		out = append(out, s)
	}
	return out, lines.Err()
}

var headings = []string{"evidence", "name", "disks", "options"}

// heading is a column's name as headings has it.
func heading(cell string) string {
	return strings.ToLower(strings.Trim(strings.TrimSpace(cell), `"`))
}

// hasHeadings says whether a line is one of headings: all of them are known, or
// evidence is one of several, and parseCSV tells of the others.
func hasHeadings(line string) bool {
	fields := strings.Split(line, ",")
	known, evidence := 0, false
	for _, f := range fields {
		if h := heading(f); slices.Contains(headings, h) {
			known++
			evidence = evidence || h == headings[0]
		}
	}
	return known == len(fields) || evidence && known < len(fields)
}

// parseCSV reads rows; in a cell of disks a semicolon stands between two, in one
// of options a space.
func parseCSV(b []byte) ([]Snapshot, error) {
	r := csv.NewReader(bytes.NewReader(b))
	r.TrimLeadingSpace, r.Comment = true, '#'
	rows, err := r.ReadAll()
	if err != nil {
		return nil, err
	}
	column := map[string]int{}
	for i, h := range rows[0] {
		name := heading(h)
		if _, twice := column[name]; twice || !slices.Contains(headings, name) {
			return nil, fmt.Errorf("the column %q is there twice, or is none of %s", name, strings.Join(headings, ", "))
		}
		column[name] = i
	}
	if _, ok := column["evidence"]; !ok {
		return nil, errors.New("no column is called evidence")
	}
	cell := func(row []string, name string) string {
		if i, ok := column[name]; ok {
			return strings.TrimSpace(row[i])
		}
		return ""
	}
	var out []Snapshot
	for i, row := range rows[1:] {
		s := Snapshot{Evidence: cell(row, "evidence"), Name: cell(row, "name"), Options: strings.Fields(cell(row, "options"))}
		if s.Evidence == "" {
			return nil, fmt.Errorf("row %d names no evidence", i+1)
		}
		for d := range strings.SplitSeq(cell(row, "disks"), ";") {
			if d = strings.TrimSpace(d); d != "" {
				s.Disks = append(s.Disks, d)
			}
		}
		out = append(out, s)
	}
	return out, nil
}

var (
	goodName    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@+=-]*$`)
	endings     = regexp.MustCompile(`(?i)(\.(img|raw|dd|e01|qcow2|vmdk|vhdx?|001|tar|tgz|zst|gz|xz|bz2|lz4))+$`)
	unsafeBytes = regexp.MustCompile(`[^A-Za-z0-9._@+=-]+`)
)

// nameAll gives each snapshot a name of its own: the manifest's, else what its
// evidence is called without its ending, with a number where that is taken.
func nameAll(all []Snapshot) error {
	taken := map[string]bool{}
	next := map[string]int{} // of thousands of one name each would try all numbers before it
	fold := strings.ToLower  // two folders may not differ by case alone: some filesystems don't tell them apart
	for _, s := range all {
		if s.Name == "" {
			continue
		}
		if !goodName.MatchString(s.Name) || len(s.Name) > maxNameLength || strings.Contains(s.Name, tempPart) || strings.HasSuffix(fold(s.Name), failedEnding) {
			return fmt.Errorf("the name %q can't be that of a folder: letters, digits and ._@+=- are allowed, a letter or digit first, and neither %q nor %q at the end", s.Name, tempPart, failedEnding)
		}
		if taken[fold(s.Name)] {
			return fmt.Errorf("two snapshots are called %q", s.Name)
		}
		taken[fold(s.Name)] = true
	}
	for i := range all {
		s := &all[i]
		if s.Name != "" {
			continue
		}
		base := unsafeBytes.ReplaceAllString(endings.ReplaceAllString(filepath.Base(strings.TrimPrefix(s.Evidence, "ebs:")), ""), "_")
		base = strings.TrimLeft(base, "._@+=-")
		base = base[:min(len(base), maxNameLength-10)]
		if base = strings.ReplaceAll(base, tempPart, "_"); base == "" {
			base = "snapshot"
		}
		if strings.HasSuffix(fold(base), failedEnding) {
			base += "_"
		}
		s.Name = base
		for taken[fold(s.Name)] {
			next[fold(base)]++
			s.Name = base + "-" + strconv.Itoa(next[fold(base)]+1)
		}
		taken[fold(s.Name)] = true
	}
	return nil
}

// Shards returns how many shards of so many snapshots a manifest has.
func Shards(snapshots, each int) int { return (snapshots + each - 1) / each }

// Shard returns the shard of that number, from 0.
func Shard(all []Snapshot, each, index int) ([]Snapshot, error) {
	shards := Shards(len(all), each)
	if index < 0 || index >= shards {
		return nil, fmt.Errorf("there is no shard %d: the manifest has %d, from 0", index, shards)
	}
	return all[index*each : min(len(all), (index+1)*each)], nil
}

// indexVariables say which shard a process is, where an engine started it.
var indexVariables = []string{"SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX", "AWS_BATCH_JOB_ARRAY_INDEX"}

// Index returns the shard's number that an engine put into the environment, and
// where it stands; -1 where none did.
func Index(getenv func(string) string) (index int, variable string, err error) {
	for _, v := range indexVariables {
		if s := getenv(v); s != "" {
			n, err := strconv.Atoi(s)
			if err != nil || n < 0 {
				return -1, v, fmt.Errorf("%s is %q, which is no number of a shard", v, s)
			}
			return n, v, nil
		}
	}
	return -1, "", nil
}
