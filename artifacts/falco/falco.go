// Package falco reads the alerts that Falco writes as JSON, one a line, into a
// file or to its own output (falco.org, "Falco Alerts"; json_output: true).
//
// Input is hostile: lines are bounded, fields of another type than Falco's are
// passed over.
package falco

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"lagan/artifacts/lines"
	"lagan/evidence"
)

// Alert is one alert. What it doesn't say is empty.
type Alert struct {
	Offset   int64
	Time     time.Time
	Rule     string
	Priority string
	Output   string
	Source   string // syscall, k8s_audit ...
	Host     string
	Tags     []string

	// Of output_fields, as far as the rule's output names them.
	ContainerID, ContainerName, Image, Namespace, Pod string
	User, Command, Process, File, Connection          string
	PID                                               int64
}

// Read yields the alerts of a file. Lines that are no JSON, which Falco writes
// of itself, are passed over.
func Read(r io.Reader) iter.Seq2[Alert, error] {
	return func(yield func(Alert, error) bool) {
		for line, err := range lines.Read(r) {
			var a Alert
			if err == nil {
				if text := bytes.TrimSpace(line.Text); len(text) == 0 || text[0] != '{' {
					continue
				}
				if a, err = Parse(line.Text); err != nil {
					err = fmt.Errorf("line at %#x: %w", line.Offset, err)
				}
				a.Offset = line.Offset
			}
			if !yield(a, err) {
				return
			}
		}
	}
}

// Is says whether a line looks like an alert: cheap enough for every line of a log.
func Is(line []byte) bool {
	return len(line) > 2 && line[0] == '{' && bytes.Contains(line, []byte(`"output_fields"`)) && bytes.Contains(line, []byte(`"rule"`))
}

// Parse reads one alert.
func Parse(line []byte) (Alert, error) {
	var j struct {
		Hostname, Output, Priority, Rule, Source, Time string
		Tags                                           []string
		Fields                                         map[string]any `json:"output_fields"`
	}
	var mismatch *json.UnmarshalTypeError
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if err := d.Decode(&j); err != nil && !errors.As(err, &mismatch) {
		return Alert{}, fmt.Errorf("alert of Falco: %w: %w", err, evidence.ErrCorrupt)
	}
	if j.Rule == "" || j.Output == "" {
		return Alert{}, fmt.Errorf("no alert of Falco: %w", evidence.ErrFormat)
	}
	a := Alert{Rule: j.Rule, Priority: j.Priority, Output: j.Output, Source: j.Source, Host: j.Hostname, Tags: j.Tags}
	a.Time, _ = time.Parse(time.RFC3339Nano, j.Time)
	text := func(keys ...string) string {
		for _, k := range keys {
			switch v := j.Fields[k].(type) {
			case string:
				if v != "" && v != "<NA>" {
					return v
				}
			case json.Number:
				return v.String()
			}
		}
		return ""
	}
	if a.Time.IsZero() {
		if ns, err := json.Number(text("evt.time", "evt.rawtime")).Int64(); err == nil && ns > 0 {
			a.Time = time.Unix(0, ns)
		}
	}
	a.Time = a.Time.UTC()
	a.ContainerID, a.ContainerName = text("container.id"), text("container.name")
	if a.ContainerID == "host" {
		a.ContainerID, a.ContainerName = "", ""
	}
	a.Image = text("container.image", "container.image.repository")
	if tag := text("container.image.tag"); tag != "" && text("container.image") == "" && a.Image != "" {
		a.Image += ":" + tag
	}
	a.Namespace, a.Pod = text("k8s.ns.name", "k8smeta.ns.name"), text("k8s.pod.name", "k8smeta.pod.name")
	a.User, a.Command, a.Process = text("user.name"), text("proc.cmdline"), text("proc.exepath", "proc.name")
	a.File, a.Connection = text("fd.name", "fs.path.name"), text("fd.rip", "fd.sip")
	a.PID, _ = json.Number(text("proc.pid")).Int64()
	return a, nil
}
