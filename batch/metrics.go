package batch

import (
	"bytes"
	"fmt"
	"time"
)

// Metrics are a batch's figures in Prometheus's text format, for a collector
// that reads files.
func Metrics(all []Outcome, total int, now time.Time) []byte {
	states := map[State]int{}
	var gaps int
	var size int64
	var seconds float64
	for _, o := range all {
		states[o.State]++
		gaps += o.Result.Gaps
		if o.State == Done {
			size += o.Result.Bytes
			seconds += o.Seconds
		}
	}
	var b bytes.Buffer
	metric := func(name, help, kind string, values ...any) {
		fmt.Fprintf(&b, "# HELP lagan_batch_%s %s\n# TYPE lagan_batch_%s %s\n", name, help, name, kind)
		for i := 0; i < len(values); i += 2 {
			fmt.Fprintf(&b, "lagan_batch_%s%s %v\n", name, values[i], values[i+1])
		}
	}
	metric("snapshots", "Snapshots by what came of them in this run.", "gauge",
		`{state="done"}`, states[Done], `{state="failed"}`, states[Failed], `{state="skipped"}`, states[Skipped], `{state="waiting"}`, total-len(all))
	metric("gaps", "Places of the evidence that could not be read.", "gauge", "", gaps)
	metric("evidence_bytes", "Bytes of the evidence that was worked on.", "gauge", "", size)
	metric("seconds", "Seconds that the snapshots took together.", "gauge", "", seconds)
	metric("last_change_timestamp_seconds", "When this file was written.", "gauge", "", now.Unix())
	return b.Bytes()
}
