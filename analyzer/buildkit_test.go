package analyzer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lagan/fixtures"
	"lagan/runtimes"
)

// buildkitTruth is what a live buildkitd said, before and after a part of its
// cache was pruned, while a step ran.
type buildkitTruth struct {
	Du [][]struct {
		ID, Description, RecordType string
		CreatedAt, LastUsedAt       time.Time
		UsageCount                  int
		Parents                     []string
	}
	Histories []struct {
		Record struct {
			Ref                    string
			FrontendAttrs          map[string]string
			CreatedAt, CompletedAt struct{ Seconds, Nanos int64 }
			Error                  struct{ Message string }
			Logs                   struct{ Digest string }
			Exporters              []struct{ Attrs map[string]string }
		}
	}
}

// TestBuildKit compares with a live buildkitd.
func TestBuildKit(t *testing.T) {
	n := openFixture(t, "buildkit", Options{})
	var tr buildkitTruth
	fixtures.Truth(t, "buildkit", &tr)
	var got, want []string
	var steps []runtimes.Build
	for _, v := range n.Builds() {
		if v.Runtime != runtimes.BuildKit || v.StorePath != "/var/lib/buildkit" {
			t.Errorf("%s is of %s, %s", v.ID, v.Runtime, v.StorePath)
		}
		switch v.Kind {
		case runtimes.BuildStep:
			steps = append(steps, v)
		case runtimes.BuildRecord:
			got = append(got, fmt.Sprint(v.ID, v.Options, v.Created, v.Completed, v.Error, v.Images, v.Log))
		case runtimes.BuildCache:
			got = append(got, cacheLine(v.ID, v.Name, v.Type, v.Parents))
		}
	}
	for _, w := range tr.Histories {
		r := w.Record
		if r.CompletedAt.Seconds == 0 {
			continue // it ran: nothing is recorded yet
		}
		var images []string
		for _, e := range r.Exporters {
			images = append(images, e.Attrs["name"])
		}
		want = append(want, fmt.Sprint(r.Ref, r.FrontendAttrs, time.Unix(r.CreatedAt.Seconds, r.CreatedAt.Nanos).UTC(), time.Unix(r.CompletedAt.Seconds, r.CompletedAt.Nanos).UTC(),
			r.Error.Message, images, r.Logs.Digest))
	}
	for _, w := range tr.Du[0] {
		want = append(want, cacheLine(w.ID, w.Description, w.RecordType, w.Parents))
	}
	sameSet(t, "builds", got, want)
	if len(steps) != 1 || steps[0].Name != "/bin/t w /dropped in-step s" || steps[0].Options["env:POOL"] != "pool.example.com:3333" || steps[0].Created.IsZero() {
		t.Errorf("steps that ran: %+v", steps)
	}
	noGaps(t, n)
	places, err := n.Which("/var/lib/buildkit/runc-overlayfs/snapshots/snapshots/5/fs/etc/payload")
	if err != nil || len(places) == 0 || places[0].Kind != "snapshot" || places[0].Inside != "/etc/payload" {
		t.Errorf("%+v, %v", places, err)
	}
}

// cacheLine is a record of the cache. A source has two that share their files:
// buildkitd shows the one that is in use at the moment.
func cacheLine(id, name, kind string, parents []string) string {
	if strings.HasPrefix(name, "local source") {
		return name
	}
	return fmt.Sprint(id, name, kind, parents)
}
