package analyzer

import (
	"strings"
	"time"

	"lagan/runtimes"
	"lagan/timeline"
)

// buildKind is a record of what BuildKit made on the node.
var buildKind = timeline.NewDataType("container:build", "CONTAINER", "Container Build")

var buildMessage = timeline.NewTemplate("Build {display_name} {action}: {command} {images} {error}")

// buildActions say what a time of each kind of record means: when it was made,
// when it ended or was used last.
var buildActions = map[runtimes.BuildKind][2]string{
	runtimes.BuildRecord: {"started", "completed"},
	runtimes.BuildCache:  {"step_made", "step_used"},
	runtimes.BuildStep:   {"step_running", ""},
}

// builds tells what was built on the node, and by which steps.
func (t *teller) builds() error {
	var err error
	collect(t.n, runtimes.BuildStore.Builds, func(s Store, b runtimes.Build) {
		if err == nil {
			err = t.build(s, &b)
		}
	})
	return err
}

func (t *teller) build(s Store, b *runtimes.Build) error {
	r := t.begin(string(b.Runtime), s.Volume)
	r.String(timeline.FieldContainerRuntime, string(b.Runtime))
	r.String(timeline.FieldDataRoot, b.StorePath)
	r.String(timeline.FieldDisplayName, "BUILD:"+b.ID)
	r.String(timeline.FieldCommand, b.Name)
	r.String(timeline.FieldImages, strings.Join(b.Images, ", "))
	r.String(timeline.FieldSnapshotKey, b.Snapshot)
	r.String(timeline.FieldOptions, jsonText(b.Options, len(b.Options)))
	r.String(timeline.FieldError, b.Error)
	r.String(timeline.FieldFilename, b.File)
	common := r.Common()
	actions := buildActions[b.Kind]
	tell := func(action string, desc timeline.Desc, at time.Time) error {
		if at.IsZero() || action == "" {
			return nil
		}
		t.r.Reset(buildKind, common)
		t.r.String(timeline.FieldAction, action)
		t.r.Time(desc, at)
		t.r.Template(buildMessage)
		return t.tell()
	}
	start, end, last := timeline.Created, timeline.Accessed, b.Used
	if b.Kind == runtimes.BuildRecord {
		start, end, last = timeline.Started, timeline.Ended, b.Completed
	}
	if err := tell(actions[0], start, b.Created); err != nil {
		return err
	}
	return tell(actions[1], end, last)
}
