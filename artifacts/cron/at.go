package cron

import (
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"lagan/evidence"
)

// AtJob is a job of at.
type AtJob struct {
	Queue   string
	Number  uint64
	Time    time.Time // when it is to run
	UID     string
	Mail    string // who is told
	Command string // without the environment that at writes before it
}

// atName is a job's file name: queue, number, minutes since 1970 (at.c,
// "%c%5lx%8lx"; a job that runs begins with =).
var atName = regexp.MustCompile(`^([a-zA-Z=])([0-9a-f]{5})([0-9a-f]{8})$`)

// maxAtJob bounds a job: its environment and a script.
const maxAtJob = 1 << 20

var (
	atRun  = regexp.MustCompile(`(?m)^# atrun uid=(\d+)`)
	atMail = regexp.MustCompile(`(?m)^# mail +(\S+)`)
	// Debian's at puts the commands into a here-document, others after the
	// change of directory.
	atHere = regexp.MustCompile(`(?m)^\$\{SHELL:-/bin/sh\} << '([^'\n]+)'\n`)
	atCd   = regexp.MustCompile(`(?m)^cd [^\n]* \|\| \{\n[^\n]*\n[^\n]*exit 1\n\}\n`)
)

// ReadAt reads a job of at, whose file's name says when it runs. A name that is
// none gives evidence.ErrFormat.
func ReadAt(name string, r io.Reader) (AtJob, error) {
	m := atName.FindStringSubmatch(name)
	if m == nil {
		return AtJob{}, fmt.Errorf("%q is no job of at: %w", name, evidence.ErrFormat)
	}
	number, _ := strconv.ParseUint(m[2], 16, 64) // five digits
	minutes, _ := strconv.ParseInt(m[3], 16, 64) // eight
	j := AtJob{Queue: m[1], Number: number, Time: time.Unix(minutes*60, 0).UTC()}
	b, err := io.ReadAll(io.LimitReader(r, maxAtJob))
	if err != nil {
		return j, fmt.Errorf("reading a job of at: %w", err)
	}
	text := string(b)
	if m := atRun.FindStringSubmatch(text); m != nil {
		j.UID = m[1]
	}
	if m := atMail.FindStringSubmatch(text); m != nil {
		j.Mail = m[1]
	}
	j.Command = strings.TrimSpace(command(text))
	return j, nil
}

// command is what was typed: the script without what at put before it.
func command(text string) string {
	if m := atHere.FindStringSubmatchIndex(text); m != nil {
		body := text[m[1]:]
		end := strings.Index(body, "\n"+text[m[2]:m[3]])
		if end >= 0 {
			body = body[:end]
		}
		return body
	}
	if m := atCd.FindStringIndex(text); m != nil {
		return text[m[1]:]
	}
	return text
}
