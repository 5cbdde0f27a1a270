package aws

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"lagan/artifacts/lines"
	"lagan/evidence"
)

// exported is how a line begins that CloudWatch exported to S3: its time in
// milliseconds, a blank, the message (CloudWatch Logs user guide, "Exporting log
// data to Amazon S3").
var exported = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z `)

// readExport reads an export: a line with a time begins a message, others go on
// with the one before.
func readExport(r io.Reader, yield func(Entry, error) bool) {
	var last Entry
	for l, err := range lines.Read(r) {
		if err != nil {
			if !yield(Entry{}, err) {
				return
			}
			continue
		}
		text := bytes.TrimPrefix(l.Text, []byte("\xef\xbb\xbf"))
		head := exported.Find(text)
		if head == nil {
			if len(last.Text)+len(text) < maxObject && last.Text != "" {
				last.Text += "\n" + string(text)
			}
			continue
		}
		if last.Text != "" && !yield(last, nil) {
			return
		}
		t, err := time.Parse(time.RFC3339Nano, strings.TrimSuffix(string(head), " "))
		if err != nil && !yield(Entry{}, fmt.Errorf("line at offset %#x: %w: %w", l.Offset, err, evidence.ErrCorrupt)) {
			return
		}
		last = Entry{Time: t, Text: string(text[len(head):]), Offset: l.Offset}
	}
	if last.Text != "" {
		yield(last, nil)
	}
}
