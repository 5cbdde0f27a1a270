//go:build linux

package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"lagan/evidence"
	"lagan/evidence/btrfs"
	"lagan/evidence/ext4"
	"lagan/evidence/xfs"
)

// view is what the reader shows of the crashed image, which it must leave as it is.
func (r *round) view() (map[string]record, error) {
	if r.lagan != "" {
		return r.printed()
	}
	f, err := os.Open(r.image)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var warnings []error
	o := evidence.Options{Warn: func(err error) { warnings = append(warnings, err) }}
	fsys, err := openFS(r.variant.fs, f, st.Size(), o)
	if err != nil {
		return nil, err
	}
	j := evidence.Describe(fsys).Journal
	r.said = fmt.Sprintf("%s: %d transactions, %d blocks", j.State, j.Transactions, j.Blocks)
	if j.Note != "" {
		r.said += " (" + j.Note + ")"
	}
	out, err := readerTree(fsys)
	if len(warnings) > 0 {
		r.said += fmt.Sprintf(", %d warnings: %v", len(warnings), errors.Join(warnings[:min(3, len(warnings))]...))
	}
	return out, err
}

func openFS(name string, f io.ReaderAt, size int64, o evidence.Options) (evidence.FS, error) {
	switch name {
	case "xfs":
		return xfs.Open(f, size, o)
	case "btrfs":
		return btrfs.Open(f, size, o)
	}
	return ext4.Open(f, size, o)
}

// line is one record of lagan ls.
type line struct {
	Record string            `json:"record"`
	Path   string            `json:"path"`
	Type   string            `json:"type"`
	Mode   string            `json:"mode"`
	UID    uint32            `json:"uid"`
	GID    uint32            `json:"gid"`
	Nlink  uint32            `json:"nlink"`
	Inode  uint64            `json:"inode"`
	Size   int64             `json:"size"`
	Mtime  string            `json:"mtime"`
	Ctime  string            `json:"ctime"`
	Btime  string            `json:"btime"`
	Target string            `json:"target"`
	Rdev   string            `json:"rdev"`
	SHA256 string            `json:"sha256"`
	Xattrs map[string]string `json:"xattrs"` // base64
}

// printed is view through the command.
func (r *round) printed() (map[string]record, error) {
	cmd := exec.Command(r.lagan, "ls", r.image, "@node", "-R", "--hash", "--output", "jsonl")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	b, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 3) {
		return nil, fmt.Errorf("lagan ls: %w: %s", err, stderr.Bytes())
	}
	r.said, _, _ = strings.Cut(stderr.String(), "\n")
	out := map[string]record{}
	for d := json.NewDecoder(bytes.NewReader(b)); ; {
		var l line
		if err := d.Decode(&l); err == io.EOF {
			return out, nil
		} else if err != nil {
			return nil, err
		}
		if l.Record == "warning" {
			continue
		}
		rec := record{Type: l.Type, Mode: l.Mode, UID: l.UID, GID: l.GID, Nlink: l.Nlink, Inode: l.Inode, Target: l.Target,
			Rdev: l.Rdev, SHA256: l.SHA256, Mtime: parseTime(l.Mtime), Ctime: parseTime(l.Ctime), Btime: parseTime(l.Btime)}
		if l.Type == "file" {
			rec.Size = l.Size
		}
		for k, v := range l.Xattrs {
			if rec.Xattrs == nil {
				rec.Xattrs = map[string]string{}
			}
			x, err := base64.StdEncoding.DecodeString(v)
			if err != nil {
				return nil, err
			}
			rec.Xattrs[k] = hex.EncodeToString(x)
		}
		out[strings.TrimPrefix(l.Path, "/")] = rec
	}
}

func parseTime(s string) int64 {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return 0
	}
	return unixNanos(t)
}
