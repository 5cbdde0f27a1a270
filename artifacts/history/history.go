// Package history reads what shells keep of the commands that were typed.
// Input is hostile: lines and commands are bounded.
package history

import (
	"bytes"
	"io"
	"iter"
	"strconv"
	"time"

	"lagan/artifacts/lines"
)

// Entry is one command.
type Entry struct {
	Command string
	Time    time.Time // zero: the file has none for it
	// After is, for a command without a time, that of the last one before it that has one.
	After   time.Time
	Elapsed string // seconds that it ran, where zsh keeps that
	Offset  int64
}

// maxCommand bounds a command of several lines.
const maxCommand = 1 << 20

// Bash reads .bash_history: a command a line, and where HISTTIMEFORMAT was set
// a line "#SECONDS" before it. A command of several lines is put together as
// far as quotes and backslashes say that it goes on.
func Bash(r io.Reader) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		var e Entry
		var command []byte
		var after time.Time
		flush := func() bool {
			if len(command) == 0 {
				return true
			}
			e.Command = string(command)
			command = command[:0]
			return yield(e, nil)
		}
		var stamp time.Time // of the line "#SECONDS" just before
		for l, err := range lines.Read(r) {
			if err != nil {
				if !flush() || !yield(Entry{}, err) {
					return
				}
				continue
			}
			if at, ok := bashTime(l.Text); ok {
				if !flush() {
					return
				}
				stamp = at
				continue
			}
			if len(command) > 0 && stamp.IsZero() && open(command) && len(command)+len(l.Text) < maxCommand {
				command = append(append(command, '\n'), l.Text...)
				continue
			}
			if !flush() {
				return
			}
			if len(l.Text) == 0 {
				continue
			}
			e = Entry{Time: stamp, After: after, Offset: l.Offset}
			if !stamp.IsZero() {
				after, e.After = stamp, time.Time{}
			}
			stamp = time.Time{}
			command = append(command, l.Text...)
		}
		flush()
	}
}

// bashTime reads "#SECONDS" (bash lib/readline/histfile.c, HIST_TIMESTAMP_START).
func bashTime(b []byte) (time.Time, bool) {
	if len(b) < 2 || b[0] != '#' || b[1] < '0' || b[1] > '9' {
		return time.Time{}, false
	}
	return seconds(bytes.TrimSpace(b[1:]))
}

func seconds(b []byte) (time.Time, bool) {
	const longest = 11 // digits: the year 5138
	if len(b) == 0 || len(b) > longest {
		return time.Time{}, false
	}
	n, err := strconv.ParseUint(string(b), 10, 63)
	if err != nil || n == 0 {
		return time.Time{}, false
	}
	return time.Unix(int64(n), 0).UTC(), true
}

// open says whether a command goes on in the next line: a quote is open, or
// its last character is a backslash.
func open(b []byte) bool {
	var quote byte
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '\\' && quote != '\'':
			if i++; i == len(b) {
				return true
			}
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '#' && (i == 0 || b[i-1] == ' ' || b[i-1] == ';'):
			if end := bytes.IndexByte(b[i:], '\n'); end >= 0 {
				i += end // a comment may hold an apostrophe
				continue
			}
			return false
		}
	}
	return quote != 0
}

// Zsh reads .zsh_history: a command a line, or with EXTENDED_HISTORY
// ": SECONDS:ELAPSED;COMMAND". A backslash at a line's end says that the
// command goes on.
func Zsh(r io.Reader) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		var e Entry
		var command []byte
		var after time.Time
		goesOn := false
		flush := func() bool {
			if len(command) == 0 {
				return true
			}
			e.Command = string(command)
			command = command[:0]
			return yield(e, nil)
		}
		for l, err := range lines.Read(r) {
			if err != nil {
				goesOn = false
				if !flush() || !yield(Entry{}, err) {
					return
				}
				continue
			}
			text := unmeta(l.Text)
			if !goesOn || len(command) > maxCommand {
				if !flush() {
					return
				}
				e = Entry{Offset: l.Offset}
				e.Time, e.Elapsed, text = zshTime(text)
				if e.Time.IsZero() {
					e.After = after
				} else {
					after = e.Time
				}
			} else {
				command = append(command, '\n')
			}
			if goesOn = len(text) > 0 && text[len(text)-1] == '\\'; goesOn {
				text = text[:len(text)-1]
			}
			command = append(command, text...)
		}
		flush()
	}
}

// zshTime reads ": SECONDS:ELAPSED;" (zsh Src/hist.c, readhistfile).
func zshTime(b []byte) (at time.Time, elapsed string, rest []byte) {
	after, ok := bytes.CutPrefix(b, []byte(": "))
	front, command, ok2 := bytes.Cut(after, []byte{';'})
	sec, ran, ok3 := bytes.Cut(front, []byte{':'})
	if !ok || !ok2 || !ok3 {
		return time.Time{}, "", b
	}
	if at, ok = seconds(bytes.TrimSpace(sec)); !ok {
		return time.Time{}, "", b
	}
	if _, err := strconv.ParseUint(string(ran), 10, 63); err == nil {
		elapsed = string(ran)
	}
	return at, elapsed, command
}

// unmeta undoes zsh's escapes: the byte Meta stands before one whose sixth bit is changed.
func unmeta(b []byte) []byte {
	const meta = 0x83
	if bytes.IndexByte(b, meta) < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == meta && i+1 < len(b) {
			i++
			out = append(out, b[i]^0x20)
			continue
		}
		out = append(out, b[i])
	}
	return out
}
