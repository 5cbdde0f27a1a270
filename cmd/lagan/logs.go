package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"lagan/analyzer"
)

// logsFlags are the flags of the logs command.
type logsFlags struct {
	timestamps   bool
	since, until string
	tail         int

	from, to time.Time
}

func newLogsCommand(u *ui) *cobra.Command {
	f := logsFlags{}
	cmd := u.command(verb{
		use:   "logs EVIDENCE CONTAINER",
		short: "a container's own output, from every rotated and packed file",
		long: `Print what a container wrote to its standard output and error, the oldest first: from Docker's json-file and
local logs (and the local copy that Docker keeps of logs it sent elsewhere), from the CRI logs of pods and from
Podman's k8s-file logs, with what was rotated and packed. Lines that the runtime cut into pieces are put together.
What went to standard error goes to standard error, unless -o names a file. The bytes are the container's own:
send them to a file or a pager rather than to a terminal you care for. With --output json, jsonl or csv each
line is a record of time, source, text and where it stands.`,
		examples: `
  lagan logs node.img.zst web-front | less
  lagan logs node.img.zst default/web-7c5ddbdf54-x2k9q/nginx --timestamps --since 2026-11-22T09:00:00Z
  lagan logs node.img.zst tomcat-prod --tail 100 -o tomcat.log`,
		min: 2, max: 2,
		check: f.check,
		run: func(n *analyzer.Node, args []string) error {
			c, err := n.FindContainer(args[1])
			if err != nil {
				return err
			}
			return u.logs(n, c, &f)
		},
	})
	cmd.Flags().BoolVarP(&f.timestamps, "timestamps", "t", false, "put the time before each line")
	cmd.Flags().StringVar(&f.since, "since", "", "leave out what was before TIME (2026-11-22, 2026-11-22T10:00:00Z)")
	cmd.Flags().StringVar(&f.until, "until", "", "leave out what was at or after TIME")
	cmd.Flags().IntVarP(&f.tail, "tail", "n", -1, "only the last `N` lines")
	return cmd
}

func (f *logsFlags) check() error {
	var err error
	if f.from, err = parseTime("since", f.since); err != nil {
		return err
	}
	if f.to, err = parseTime("until", f.until); err != nil {
		return err
	}
	if f.tail < -1 {
		return usageError{fmt.Errorf("--tail takes a number of lines, not %d", f.tail)}
	}
	return nil
}

// logs prints a container's output.
func (u *ui) logs(n *analyzer.Node, c *analyzer.Container, f *logsFlags) error {
	return u.write(func(w io.Writer) error {
		if u.output != "table" {
			p := u.newPrinter(w, logColumns)
			err := f.each(u.ctx, n, c, func(e *analyzer.LogEntry) error { return p.print(logRecord{e}) })
			return errors.Join(err, p.close(n))
		}
		failed := w
		if u.outFile == "" {
			failed = u.stderr
		}
		errs := bufio.NewWriterSize(failed, 64<<10)
		p := logPrinter{f: f, out: w, errs: errs, together: u.outFile != ""}
		err := f.each(u.ctx, n, c, p.print)
		return errors.Join(err, errs.Flush())
	})
}

// each calls fn for the lines that the flags choose. For the last ones the log
// is read twice: once to count.
func (f *logsFlags) each(ctx context.Context, n *analyzer.Node, c *analyzer.Container, fn func(*analyzer.LogEntry) error) error {
	skip := 0
	if f.tail >= 0 {
		count := 0
		if err := n.Logs(ctx, c, func(e *analyzer.LogEntry) error { count += f.wanted(e); return nil }); err != nil {
			return err
		}
		skip = max(count-f.tail, 0)
	}
	return n.Logs(ctx, c, func(e *analyzer.LogEntry) error {
		if f.wanted(e) == 0 {
			return nil
		}
		if skip > 0 {
			skip--
			return nil
		}
		return fn(e)
	})
}

// wanted is 1 for a line of the times that were asked for.
func (f *logsFlags) wanted(e *analyzer.LogEntry) int {
	if !f.from.IsZero() && e.Time.Before(f.from) || !f.to.IsZero() && !e.Time.Before(f.to) {
		return 0
	}
	return 1
}

// logPrinter prints lines to where they were written.
type logPrinter struct {
	f         *logsFlags
	out, errs io.Writer
	together  bool // both go to one file
	line      []byte
}

func (p *logPrinter) print(e *analyzer.LogEntry) error {
	p.line = p.line[:0]
	if p.f.timestamps {
		p.line = append(e.Time.UTC().AppendFormat(p.line, "2006-01-02T15:04:05.000000000Z07:00"), ' ') // as docker logs prints it
	}
	p.line = append(p.line, e.Text...)
	if !e.Unended {
		p.line = append(p.line, '\n')
	}
	w := p.out
	if e.Source == "stderr" && !p.together {
		w = p.errs
	}
	_, err := w.Write(p.line)
	return err
}
