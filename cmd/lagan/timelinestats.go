package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"lagan/analyzer"
	"lagan/timeline"
)

// statColumns are those of counts in CSV.
var statColumns = columns{wide: []string{"of", "name", "events"}}

// statRecord is one count.
type statRecord struct {
	of, name string
	events   int64
}

func (s statRecord) appendJSON(dst []byte) ([]byte, error) {
	return appendValue(dst, struct {
		Record string `json:"record"`
		Of     string `json:"of"`
		Name   string `json:"name"`
		Events int64  `json:"events"`
	}{"count", s.of, s.name, s.events})
}

func (s statRecord) row(bool) []string {
	return []string{s.of, s.name, strconv.FormatInt(s.events, 10)}
}

// printStats prints what was counted.
func (u *ui) printStats(n *analyzer.Node, s *timeline.Stats, f *timelineFlags) error {
	if u.output != "table" {
		p := u.newPrinter(u.stdout, statColumns)
		for _, c := range counts(s, f) {
			if err := p.print(c); err != nil {
				return err
			}
		}
		return p.close(n)
	}
	var b strings.Builder
	if f.stats {
		statTable(&b, s)
	}
	if f.histogram {
		histogram(&b, s.Days())
	}
	_, err := io.WriteString(u.stdout, b.String())
	return err
}

func counts(s *timeline.Stats, f *timelineFlags) []statRecord {
	var out []statRecord
	if f.stats {
		for _, c := range s.Kinds() {
			out = append(out, statRecord{"kind", c.Name, c.Events})
		}
		for _, c := range s.Containers() {
			out = append(out, statRecord{"container", c.Name, c.Events})
		}
	}
	for _, d := range s.Days() {
		out = append(out, statRecord{"day", d.Date.Format(time.DateOnly), d.Events})
	}
	return out
}

// statTable is for people: totals, then each kind and container, then the days.
func statTable(b *strings.Builder, s *timeline.Stats) {
	all, timeless := s.Events()
	first, last := s.Span()
	fmt.Fprintf(b, "%d events", all)
	if timeless > 0 {
		fmt.Fprintf(b, ", %d without a time", timeless)
	}
	if !first.IsZero() {
		fmt.Fprintf(b, ", from %s to %s", first.Format(time.RFC3339), last.Format(time.RFC3339))
	}
	b.WriteString("\n")
	for _, part := range []struct {
		title  string
		counts []timeline.Count
	}{{"KIND", s.Kinds()}, {"CONTAINER", s.Containers()}} {
		if len(part.counts) == 0 {
			continue
		}
		p := (&ui{output: "table"}).newPrinter(b, columns{table: []string{"\n" + part.title, "EVENTS"}})
		for _, c := range part.counts {
			p.print(statRecordShort{c})
		}
		p.tab.Flush()
	}
	days := s.Days()
	if len(days) == 0 {
		return
	}
	busiest := days[0]
	for _, d := range days {
		if d.Events > busiest.Events {
			busiest = d
		}
	}
	fmt.Fprintf(b, "\n%d days, most on %s: %d events\n", len(days), busiest.Date.Format(time.DateOnly), busiest.Events)
	line, from, to := sparkline(days)
	fmt.Fprintf(b, "%s %s %s\n", from.Format(time.DateOnly), line, to.Format(time.DateOnly))
}

type statRecordShort struct{ timeline.Count }

func (s statRecordShort) appendJSON(dst []byte) ([]byte, error) { return appendValue(dst, s.Count) }

func (s statRecordShort) row(bool) []string {
	return []string{s.Name, strconv.FormatInt(s.Events, 10)}
}

const (
	// sparkWidth and barWidth fit a terminal of 80 columns.
	sparkWidth = 56
	barWidth   = 50
	// sparkDays is how far back of the last day the line reaches: a few files
	// with times of decades ago would press everything else into one place.
	sparkDays = 366
)

var sparks = []rune("▁▂▃▄▅▆▇█")

// sparkline draws the days of about a year up to the end of what happened. Each
// place stands for the same number of days.
func sparkline(days []timeline.Day) (line string, from, to time.Time) {
	const day = 24 * time.Hour
	to = days[len(days)-1].Date
	total := int64(0)
	for _, d := range days {
		total += d.Events
	}
	// Times of the future, which anyone can set, would press it as well: the
	// line ends at the day by which all but a thousandth have happened.
	seen := int64(0)
	for _, d := range days {
		if seen += d.Events; seen*1000 >= total*999 {
			to = d.Date
			break
		}
	}
	from = days[0].Date
	if earliest := to.Add(-(sparkDays - 1) * day); from.Before(earliest) {
		from = earliest
	}
	span := int(to.Sub(from)/day) + 1
	width := min(span, sparkWidth)
	buckets := make([]int64, width)
	most := int64(0)
	for _, d := range days {
		if d.Date.Before(from) || d.Date.After(to) {
			continue
		}
		at := int(d.Date.Sub(from)/day) * width / span
		buckets[at] += d.Events
		most = max(most, buckets[at])
	}
	out := make([]rune, width)
	for i, n := range buckets {
		out[i] = ' '
		if n > 0 {
			out[i] = sparks[(n*int64(len(sparks))-1)/most]
		}
	}
	return string(out), from, to
}

// histogram draws a bar for each day on which something happened.
func histogram(b *strings.Builder, days []timeline.Day) {
	most := int64(1)
	for _, d := range days {
		most = max(most, d.Events)
	}
	for _, d := range days {
		bar := int((d.Events*barWidth + most - 1) / most)
		fmt.Fprintf(b, "%s %8d %s\n", d.Date.Format(time.DateOnly), d.Events, strings.Repeat("█", bar))
	}
}
