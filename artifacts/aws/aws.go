// Package aws reads what an AWS account says of a node from outside: CloudTrail
// events, GuardDuty findings and VPC flow logs, as the services put them in
// S3 and as the AWS command line prints them.
//
// The forms are those of the CloudTrail, GuardDuty and VPC user guides. JSON may
// be one object with a list of records, a list, or an object a line. Input is
// hostile: objects and lines are bounded, and unpacking is the caller's.
package aws

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"regexp"
	"strconv"
	"strings"
	"time"

	"lagan/evidence"
)

// Kind says which service an entry is of.
type Kind uint8

// The kinds of entries.
const (
	Other Kind = iota // a line of CloudWatch's logs: Text has it
	CloudTrail
	GuardDuty
	Flow
)

// Entry is one event, finding or flow. What it doesn't say is empty.
type Entry struct {
	Kind      Kind
	Time      time.Time // of the event; when the finding was first seen; when the flow began
	End       time.Time // when the finding was last seen; when the flow ended
	ID        string
	Name      string // what was called; the finding's type
	Source    string // the service; of a line of CloudWatch its stream
	User      string
	ARN       string
	AccessKey string
	SourceIP  string // as written: also a service's name
	Port      string
	UserAgent string
	Region    string
	Account   string
	Resources string // JSON
	Error     string
	Severity  string
	Title     string
	Detail    string
	ReadOnly  string // true, false

	// Of flows.
	DestinationIP, DestinationPort, Protocol, Action, Interface, Bytes, Packets string

	Text   string // as JSON, or the line
	Offset int64  // of JSON: where its reading ended
}

// maxObject bounds one JSON object: CloudTrail's are under 256 KiB.
const maxObject = 16 << 20

// Read yields the entries of a file. What is wrong with one yields an error;
// JSON that is broken ends the reading.
func Read(r io.Reader) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		in := bufio.NewReaderSize(r, 64<<10)
		head, err := in.Peek(4 << 10)
		if err != nil && err != io.EOF && len(head) == 0 {
			yield(Entry{}, err)
			return
		}
		if c := bytes.TrimLeft(head, "\xef\xbb\xbf \t\r\n"); len(c) > 0 && c[0] != '{' && c[0] != '[' {
			if exported.Match(c) {
				readExport(in, yield)
			} else {
				readFlows(in, yield)
			}
			return
		}
		readJSON(in, head, yield)
	}
}

// wrapper is the beginning of an object that holds a list of records.
var wrapper = regexp.MustCompile(`^[\xef\xbb\xbf\s]*\{\s*"(?i:Records|Events|Findings)"\s*:\s*\[`)

// bounded fails a reading that goes on for too long without an object's end.
type bounded struct {
	r    io.Reader
	left int64
}

var errLong = errors.New("object is too long")

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errLong
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

func readJSON(in *bufio.Reader, head []byte, yield func(Entry, error) bool) {
	list := false
	var base int64
	if m := wrapper.FindIndex(head); m != nil { // read on from its list
		n, _ := in.Discard(m[1] - 1)
		base, list = int64(n), true
	} else if c := bytes.TrimLeft(head, "\xef\xbb\xbf \t\r\n"); len(c) > 0 {
		n, _ := in.Discard(len(head) - len(c))
		base, list = int64(n), c[0] == '['
	}
	b := &bounded{r: in, left: maxObject}
	d := json.NewDecoder(b)
	wrong := func(err error) {
		if !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			yield(Entry{}, fmt.Errorf("JSON after offset %#x: %w: %w", base+d.InputOffset(), err, evidence.ErrCorrupt))
		}
	}
	if list {
		if _, err := d.Token(); err != nil {
			wrong(err)
			return
		}
	}
	for !list || d.More() {
		var raw json.RawMessage
		b.left = maxObject
		if err := d.Decode(&raw); err != nil {
			wrong(err)
			return
		}
		e, err := parse(raw)
		if err != nil {
			err = fmt.Errorf("object before offset %#x: %w", base+d.InputOffset(), err)
		} else {
			e.Offset = base + d.InputOffset()
		}
		if !yield(e, err) {
			return
		}
	}
	if _, err := d.Token(); err != nil {
		if err == io.EOF { // the file was cut
			err = io.ErrUnexpectedEOF
		}
		wrong(err)
	}
}

// parse reads one object.
func parse(raw []byte) (Entry, error) {
	var shape struct {
		EventName, EventSource, CloudTrailEvent, Type, SchemaVersion string
		Message                                                      string
		LogMessage                                                   string `json:"@message"`
		LogStreamName                                                string
		LogStream                                                    string   `json:"@logStream"`
		Timestamp                                                    flexible // milliseconds
		LogTime                                                      flexible `json:"@timestamp"`
		Detail                                                       json.RawMessage
		Service                                                      json.RawMessage
	}
	if err := json.Unmarshal(raw, &shape); err != nil {
		var mismatch *json.UnmarshalTypeError
		if !errors.As(err, &mismatch) {
			return Entry{}, fmt.Errorf("%w: %w", err, evidence.ErrCorrupt)
		}
	}
	switch {
	case shape.CloudTrailEvent != "":
		return lookup(raw, shape.CloudTrailEvent)
	case shape.EventName != "" && shape.EventSource != "":
		return trail(raw)
	case shape.Type != "" && len(shape.Service) > 0:
		return finding(raw)
	case len(shape.Detail) > 0 && shape.Detail[0] == '{': // EventBridge's envelope
		if bytes.Contains(shape.Detail, []byte(`"eventName"`)) {
			return trail(shape.Detail)
		}
		return finding(shape.Detail)
	case shape.Message != "":
		return Entry{Text: shape.Message, Time: shape.Timestamp.Time, Source: shape.LogStreamName}, nil
	case shape.LogMessage != "":
		return Entry{Text: shape.LogMessage, Time: shape.LogTime.Time, Source: shape.LogStream}, nil
	}
	return Entry{}, fmt.Errorf("no event or finding that is known: %w", evidence.ErrUnsupported)
}

// flexible is a time as text or as a number of seconds or milliseconds.
type flexible struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler. What is no time is left unknown.
func (f *flexible) UnmarshalJSON(b []byte) error {
	s := strings.Trim(string(b), `"`)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05.999"} {
		if t, err := time.Parse(layout, s); err == nil {
			f.Time = t.UTC()
			return nil
		}
	}
	if n, err := strconv.ParseFloat(s, 64); err == nil && n > 0 && n < 1e14 {
		if n > 1e11 {
			n /= 1000
		}
		f.Time = time.UnixMilli(int64(n * 1000)).UTC()
	}
	return nil
}

// loose unmarshals, passing over values of another type than is known.
func loose(raw []byte, v any) error {
	err := json.Unmarshal(raw, v)
	var mismatch *json.UnmarshalTypeError
	if err != nil && !errors.As(err, &mismatch) {
		return fmt.Errorf("%w: %w", err, evidence.ErrCorrupt)
	}
	return nil
}

func firstOf(all ...string) string {
	for _, s := range all {
		if s != "" {
			return s
		}
	}
	return ""
}
