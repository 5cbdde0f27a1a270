// Package containerlog reads what runtimes keep of a container's output:
// Docker's json-file and local drivers, and the CRI form that containerd,
// CRI-O and Podman's k8s-file driver write.
//
// A long line is kept in pieces, which Join puts together. Input is hostile:
// lines, pieces and what they join to are bounded, and after bytes that can't
// be read the next entry is looked for.
package containerlog

import (
	"bytes"
	"iter"
	"time"
)

// Entry is a piece of output. Its bytes are valid until the next one is asked for.
type Entry struct {
	Time   time.Time
	Source string // stdout, stderr
	Text   []byte // without the line feed at its end
	// More says that the line goes on in the next entry of the same source.
	More bool
	// Unended says that no line feed ended the text: the program ended first.
	Unended bool
	Flags   string // CRI's tags: "F", "P"
	Offset  int64  // in the file, unpacked
	File    int    // for callers that give several files as one sequence
}

const (
	// maxJoined bounds a line that is joined of pieces.
	maxJoined = 1 << 20
	// maxSources bounds the lines that are joined at a time. There are two
	// sources; the local driver's field could hold any text.
	maxSources = 8
)

// Join puts the pieces of lines together, over the borders of rotated files
// too if these are given as one sequence. A line has the time, the offset and
// the flags of its first piece; More is left where its end is missing.
func Join(pieces iter.Seq2[Entry, error]) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		j := joiner{yield: yield}
		for e, err := range pieces {
			if err != nil {
				if !yield(Entry{}, err) {
					return
				}
				continue
			}
			if !j.add(e) {
				return
			}
		}
		for i := range j.open {
			if !yield(j.open[i], nil) {
				return
			}
		}
	}
}

type joiner struct {
	open  []Entry // lines whose end is not there yet, one a source
	yield func(Entry, error) bool
}

func (j *joiner) add(e Entry) bool {
	for i := range j.open {
		o := &j.open[i]
		if o.Source != e.Source {
			continue
		}
		if len(o.Text)+len(e.Text) <= maxJoined {
			o.Text = append(o.Text, e.Text...)
			if e.More {
				return true
			}
			whole := *o
			whole.More, whole.Unended = false, e.Unended
			j.open = append(j.open[:i], j.open[i+1:]...)
			return j.yield(whole, nil)
		}
		whole := *o
		j.open = append(j.open[:i], j.open[i+1:]...)
		if !j.yield(whole, nil) {
			return false
		}
		break
	}
	if !e.More {
		return j.yield(e, nil)
	}
	if len(j.open) >= maxSources {
		whole := j.open[0]
		j.open = append(j.open[:0], j.open[1:]...)
		if !j.yield(whole, nil) {
			return false
		}
	}
	e.Text = bytes.Clone(e.Text)
	j.open = append(j.open, e)
	return true
}

// source returns the name without an allocation where it is a usual one.
func source(b []byte) string {
	switch string(b) {
	case "stdout":
		return "stdout"
	case "stderr":
		return "stderr"
	}
	return string(b)
}

// shown is the most of a bad line that an error quotes.
const shown = 40

func quote(b []byte) []byte { return b[:min(len(b), shown)] }
