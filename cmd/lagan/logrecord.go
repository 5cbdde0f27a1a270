package main

import (
	"encoding/base64"
	"strconv"
	"unicode/utf8"

	"lagan/analyzer"
	"lagan/internal/text"
)

var logColumns = columns{wide: []string{"time", "source", "text", "flags", "path", "offset"}}

// logRecord is a line of a container's output as a record.
type logRecord struct{ e *analyzer.LogEntry }

func (r logRecord) appendJSON(dst []byte) ([]byte, error) {
	dst = append(dst, `{"time":`...)
	dst = text.AppendJSON(dst, formatTime(r.e.Time))
	member := func(key, value string) {
		value, _ = text.ForJSON(value)
		dst = append(dst, `,"`+key+`":`...)
		dst = text.AppendJSON(dst, value)
	}
	member("source", r.e.Source)
	member("text", string(r.e.Text))
	if !utf8.Valid(r.e.Text) {
		member("text_raw", base64.StdEncoding.EncodeToString(r.e.Text))
	}
	if r.e.Flags != "" {
		member("flags", r.e.Flags)
	}
	if r.e.Unended {
		dst = append(dst, `,"unended":true`...)
	}
	member("path", r.e.Path)
	dst = append(dst, `,"offset":`...)
	return append(strconv.AppendInt(dst, r.e.Offset, 10), '}'), nil
}

func (r logRecord) row(bool) []string {
	return []string{formatTime(r.e.Time), r.e.Source, string(r.e.Text), r.e.Flags, r.e.Path, strconv.FormatInt(r.e.Offset, 10)}
}
