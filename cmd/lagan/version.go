package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"lagan/timeline"
)

// What the build of a release says of itself; the linker puts it here
// (scripts/dist). Other builds know what Go recorded.
var release, commit, committed string

// version is the program's version, as run.json and --version have it.
func version() string {
	if release != "" {
		return release
	}
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "(devel)"
}

func newVersionCommand(u *ui) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "the version, its commit and the versions of what it writes",
		Args:  exactly(0, "lagan version"),
		RunE: func(*cobra.Command, []string) error {
			return u.write(func(w io.Writer) error {
				p := u.newPrinter(w, columns{})
				if err := p.print(newVersionRecord()); err != nil {
					return err
				}
				return p.finish()
			})
		},
	}
}

type versionRecord struct {
	Version   string   `json:"version"`
	Commit    string   `json:"commit,omitempty"`
	Committed string   `json:"committed,omitempty"`
	Go        string   `json:"go"`
	Platform  string   `json:"platform"`
	Timelines []string `json:"timeline_formats"`
	Plaso     []int    `json:"plaso_storage"`
}

func newVersionRecord() *versionRecord {
	r := &versionRecord{Version: version(), Commit: commit, Committed: committed, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Plaso: timeline.PlasoVersions}
	for _, f := range timeline.Formats {
		r.Timelines = append(r.Timelines, string(f))
	}
	if b, ok := debug.ReadBuildInfo(); ok && r.Commit == "" {
		for _, s := range b.Settings {
			switch s.Key {
			case "vcs.revision":
				r.Commit = s.Value
			case "vcs.time":
				r.Committed = s.Value
			}
		}
	}
	return r
}

func (r *versionRecord) appendJSON(dst []byte) ([]byte, error) { return appendValue(dst, r) }

func (r *versionRecord) row(bool) []string {
	from := ""
	if r.Commit != "" {
		from = fmt.Sprintf(" (commit %s of %s)", r.Commit, r.Committed)
	}
	return []string{fmt.Sprintf("lagan %s%s, %s %s; timelines: %s; plaso storage %v", r.Version, from, r.Go, r.Platform, strings.Join(r.Timelines, ", "), r.Plaso)}
}
