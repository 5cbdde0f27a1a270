package stamp

import "time"

// Years gives the years of stamps without one, in the order of their lines: a
// year ends where the month falls by more than one. Lines that are out of
// order by a little don't end it.
//
// A first pass over the lines Notes them, Begin then says which year is the
// first, and a second pass asks for each with Next.
type Years struct {
	prev  Stamp
	noted bool
	year  int // of prev: relative in the first pass, the year itself in the second
	leap  map[int]bool
}

// Note tells the first pass of a stamp.
func (y *Years) Note(s Stamp) {
	if s.Year != 0 {
		return
	}
	y.step(s)
	if s.Month == time.February && s.Day == 29 && len(y.leap) < maxLeaps {
		if y.leap == nil {
			y.leap = make(map[int]bool)
		}
		y.leap[y.year] = true
	}
}

// maxLeaps bounds what is kept of 29 Februaries. No log has centuries.
const maxLeaps = 32

func (y *Years) step(s Stamp) {
	switch {
	case !y.noted:
	case s.Month+1 < y.prev.Month:
		y.year++
	case y.prev.Month == time.January && y.prev.Day <= 2 && s.Month == time.December && s.Day >= 30:
		y.year-- // written a moment late, over the end of the year
	}
	y.prev, y.noted = s, true
}

// Needed says whether the first pass found a stamp without a year.
func (y *Years) Needed() bool { return y.noted }

// Begin prepares the second pass: last is the time by which the last line was
// written. Where a 29 February would fall into a year without one, all years
// are earlier by as much as it takes.
func (y *Years) Begin(last time.Time, zone *time.Location) {
	if !y.noted {
		return
	}
	last = last.In(zone)
	year := last.Year()
	const late = 24 * time.Hour // clocks and zones that are a little off
	if y.prev.Time(year, zone).After(last.Add(late)) {
		year--
	}
	first := year - y.year
	for range 8 { // two leap years are at most 8 apart
		if y.leapFits(first) {
			break
		}
		first--
	}
	if !y.leapFits(first) {
		first = year - y.year
	}
	*y = Years{year: first}
}

func (y *Years) leapFits(first int) bool {
	for rel := range y.leap {
		if time.Date(first+rel, time.February, 29, 0, 0, 0, 0, time.UTC).Day() != 29 {
			return false
		}
	}
	return true
}

// Next returns the year of a stamp that has none, in the second pass.
func (y *Years) Next(s Stamp) int {
	if s.Year != 0 {
		return s.Year
	}
	y.step(s)
	return y.year
}
