// Package unit reads systemd's unit files: what starts by itself, when, and as
// whom. It follows systemd.syntax(7), systemd.service(5) and systemd.timer(5).
//
// Input is hostile: a file is bounded, and what is no setting is passed over, as
// systemd does.
package unit

import (
	"fmt"
	"io"
	"strings"

	"lagan/evidence"
)

// Unit is what a unit file or a drop-in says.
type Unit struct {
	Description string
	User        string
	Commands    []string // ExecStartPre, ExecStart, ExecStartPost, ExecStop ... in order
	Schedule    []string // OnCalendar=..., OnBootSec=... of a timer
	Starts      string   // Unit= of a timer, path or socket
	Paths       []string // PathExists=... of a path unit, ListenStream=... of a socket
	WantedBy    []string
	Environment []string
	Restart     string
	Type        string
}

// maxUnit bounds a unit file; systemd's own bound for a line is 1 MiB.
const maxUnit = 1 << 20

// maxValues bounds the values of one kind.
const maxValues = 1000

// Read reads a unit file.
func Read(r io.Reader) (Unit, error) {
	var u Unit
	b, err := io.ReadAll(io.LimitReader(r, maxUnit+1))
	if err != nil {
		return u, fmt.Errorf("reading a unit: %w", err)
	}
	if len(b) > maxUnit {
		return u, fmt.Errorf("a unit of more than %d bytes: %w", maxUnit, evidence.ErrUnsupported)
	}
	for key, value := range settings(string(b)) {
		u.set(key, value)
	}
	return u, nil
}

// settings yields KEY and VALUE. A backslash at a line's end joins it with the
// next, comments between them apart.
func settings(s string) func(func(string, string) bool) {
	return func(yield func(string, string) bool) {
		var joined strings.Builder
		for line := range strings.Lines(s) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
				continue
			}
			if rest, ok := strings.CutSuffix(line, `\`); ok {
				joined.WriteString(rest + " ")
				continue
			}
			joined.WriteString(line)
			line = joined.String()
			joined.Reset()
			key, value, ok := strings.Cut(line, "=")
			if ok && !strings.HasPrefix(line, "[") && !yield(strings.TrimSpace(key), strings.TrimSpace(value)) {
				return
			}
		}
	}
}

func (u *Unit) set(key, value string) {
	switch {
	case key == "Description":
		u.Description = value
	case key == "User":
		u.User = value
	case key == "Unit":
		u.Starts = value
	case key == "Restart":
		u.Restart = value
	case key == "Type":
		u.Type = value
	case key == "WantedBy" || key == "RequiredBy":
		add(&u.WantedBy, strings.Fields(value)...)
	case key == "Environment":
		add(&u.Environment, value)
	case strings.HasPrefix(key, "Exec") && key != "ExecSearchPath" && key != "ExecPaths":
		add(&u.Commands, value) // none: a drop-in that takes away those before it
	case key == "OnCalendar" || strings.HasPrefix(key, "On") && strings.HasSuffix(key, "Sec"):
		add(&u.Schedule, key+"="+value)
	case strings.HasPrefix(key, "Path") || key == "DirectoryNotEmpty" || strings.HasPrefix(key, "Listen"):
		add(&u.Paths, key+"="+value)
	}
}

func add(list *[]string, values ...string) {
	for _, v := range values {
		if v != "" && len(*list) < maxValues {
			*list = append(*list, v)
		}
	}
}
