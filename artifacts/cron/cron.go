// Package cron reads what is to be run by itself: crontabs, anacrontab and the
// jobs of at, as crontab(5), anacrontab(5) and at's at.c write them.
//
// A crontab has no times of its own: an entry is what the file says now. Input
// is hostile: lines and files are bounded. A line that cron would pass over is
// given with its text alone: someone wrote it.
package cron

import (
	"io"
	"iter"
	"strings"

	"lagan/artifacts/lines"
)

// Form says what stands before a command.
type Form uint8

// The forms of crontabs.
const (
	User     Form = iota // a schedule
	System               // a schedule and a user: /etc/crontab, /etc/cron.d
	Anacron              // period, delay and name
	numForms             // how many there are
)

// Job is one entry.
type Job struct {
	Offset   int64
	Schedule string // "17 * * * *", "@reboot", "7 5 weekly" of anacron
	User     string // "" where the file says whose it is
	Command  string
	Text     string // the line
}

// Read yields the entries of a crontab. Settings of its environment are passed
// over, but for those by which a command is run: they are jobs' own business.
func Read(r io.Reader, form Form) iter.Seq2[Job, error] {
	return func(yield func(Job, error) bool) {
		for line, err := range lines.Read(r) {
			if err != nil {
				if !yield(Job{}, err) {
					return
				}
				continue
			}
			text := strings.TrimSpace(string(line.Text))
			if text == "" || text[0] == '#' || setting(text) {
				continue
			}
			j, ok := parse(text, form)
			if !ok {
				j = Job{Text: text}
			}
			j.Offset = line.Offset
			if !yield(j, nil) {
				return
			}
		}
	}
}

// setting says whether a line is NAME=VALUE or NAME = VALUE.
func setting(s string) bool {
	name, _, ok := strings.Cut(s, "=")
	name = strings.Trim(strings.TrimSpace(name), `"'`)
	return ok && name != "" && !strings.ContainsAny(name, " \t*/,@") && (name[0] < '0' || name[0] > '9')
}

func parse(text string, form Form) (Job, bool) {
	fields := 5
	switch {
	case text[0] == '@':
		fields = 1
		if form == Anacron { // @monthly delay name command
			fields = 3
		}
	case form == Anacron:
		fields = 3
	}
	schedule, rest, ok := words(strings.TrimPrefix(text, "-"), fields) // SUSE's - keeps a job out of the log
	j := Job{Schedule: schedule, Text: text}
	if ok && form == System {
		j.User, rest, ok = words(rest, 1)
	}
	j.Command = rest
	return j, ok && rest != ""
}

// words takes n words from the front of a line, with single spaces between.
func words(s string, n int) (taken, rest string, ok bool) {
	var out []string
	for range n {
		s = strings.TrimLeft(s, " \t")
		end := strings.IndexAny(s, " \t")
		if end <= 0 {
			return strings.Join(out, " "), "", false
		}
		out = append(out, s[:end])
		s = s[end:]
	}
	return strings.Join(out, " "), strings.TrimLeft(s, " \t"), true
}
