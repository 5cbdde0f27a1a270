package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"lagan/analyzer"
	"lagan/internal/text"
)

// record is one thing that a command prints: the same value gives a line of a
// table, a row of CSV and a JSON object.
type record interface {
	appendJSON(dst []byte) ([]byte, error)
	// row returns the cells of the table; wide ones are for CSV.
	row(wide bool) []string
}

// columns are a table's headings; of wide ones, CSV's. A table without
// headings prints its cells with single spaces.
type columns struct {
	table, wide []string
}

// printer writes records in the format that --output named.
type printer struct {
	format string
	w      io.Writer
	tab    *tabwriter.Writer
	csv    *csv.Writer
	buf    []byte
	n      int
	cols   columns
	wide   bool // a table of all columns
	shown  bool // on a terminal, which gets no control characters in a CSV either
}

func (u *ui) newPrinter(w io.Writer, cols columns) *printer {
	p := &printer{format: u.output, w: w, cols: cols, shown: u.outFile == "" && u.onTerminal()}
	switch p.format {
	case "table":
		if len(cols.table) > 0 {
			p.tab = tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
			fmt.Fprintln(p.tab, strings.Join(cols.table, "\t"))
		}
	case "csv":
		p.csv = csv.NewWriter(w)
		p.csv.Write(cols.wide)
	}
	return p
}

func (p *printer) print(r record) error {
	switch p.format {
	case "table":
		cells := r.row(p.wide)
		for i := range cells {
			cells[i] = text.ForTerminal(cells[i])
		}
		var err error
		if p.tab != nil {
			_, err = fmt.Fprintln(p.tab, strings.Join(cells, "\t"))
		} else {
			_, err = fmt.Fprintln(p.w, strings.Join(cells, " "))
		}
		return err
	case "csv":
		cells := r.row(true)
		for i := range cells {
			if cells[i] = safeCell(cells[i]); p.shown {
				cells[i] = text.ForTerminal(cells[i])
			}
		}
		return p.csv.Write(cells)
	}
	return p.json(r)
}

func (p *printer) json(r record) error {
	p.buf = p.buf[:0]
	if p.format == "json" {
		separator := ",\n"
		if p.n == 0 {
			separator = "[\n"
		}
		p.buf = append(p.buf, separator...)
	}
	p.n++
	var err error
	if p.buf, err = r.appendJSON(p.buf); err != nil {
		return err
	}
	if p.format == "jsonl" {
		p.buf = append(p.buf, '\n')
	}
	_, err = p.w.Write(p.buf)
	return err
}

// close ends the output; what could not be read becomes records of it, where it is JSON.
func (p *printer) close(n *analyzer.Node) error {
	if p.format == "json" || p.format == "jsonl" {
		for _, g := range n.Gaps() {
			if err := p.json(warning{g}); err != nil {
				return err
			}
		}
	}
	return p.finish()
}

// finish ends an output that carries no gaps.
func (p *printer) finish() error {
	switch {
	case p.format == "json" && p.n == 0:
		_, err := io.WriteString(p.w, "[]\n")
		return err
	case p.format == "json":
		_, err := io.WriteString(p.w, "\n]\n")
		return err
	case p.tab != nil:
		return p.tab.Flush()
	case p.csv != nil:
		p.csv.Flush()
		return p.csv.Error()
	}
	return nil
}

// safeCell keeps a spreadsheet from taking a cell that an attacker chose for a formula.
func safeCell(s string) string {
	s, _ = text.ForJSON(s)
	if s != "" && strings.IndexByte("=+-@\t\r", s[0]) >= 0 {
		return "'" + s
	}
	return s
}

// warning is a gap as a record.
type warning struct{ g analyzer.Gap }

func (w warning) appendJSON(dst []byte) ([]byte, error) {
	message, _ := text.ForJSON(w.g.Message)
	object, _ := text.ForJSON(w.g.Object)
	return appendValue(dst, struct {
		Record   string `json:"record"`
		Evidence string `json:"evidence,omitempty"`
		Volume   int    `json:"volume,omitempty"`
		Object   string `json:"object,omitempty"`
		Message  string `json:"message"`
	}{"warning", w.g.Evidence, w.g.Volume, object, message})
}

func (w warning) row(bool) []string { return []string{w.g.String()} }

// appendValue appends v as JSON on one line, without HTML escapes.
func appendValue(dst []byte, v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(text.JSON{W: &b})
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return dst, err
	}
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...), nil
}
