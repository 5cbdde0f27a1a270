package timeline

import "strconv"

// The seconds of 0001-01-01 00:00:00 and of 9999-12-31 23:59:59, the dates
// that four digits can say.
const (
	minSec = -62135596800
	maxSec = 253402300799
	// maxNsec keeps the last second from being rounded up into the year 10000.
	maxNsec = 999_999_499
)

// clamp moves a time that no date can say to the nearest that one can.
func (s *stamp) clamp() bool {
	switch {
	case s.sec < minSec:
		s.sec, s.nsec = minSec, 0
	case s.sec > maxSec, s.sec == maxSec && s.nsec > maxNsec:
		s.sec, s.nsec = maxSec, maxNsec
	default:
		return false
	}
	return true
}

// micros rounds half up to microseconds, as (nanoseconds+500)/1000 floored.
func micros(sec int64, nsec uint32) (int64, uint32) {
	us := (nsec + 500) / 1000
	if us == 1_000_000 {
		return sec + 1, 0
	}
	return sec, us
}

// clock writes times, and keeps what it wrote of the last second.
type clock struct {
	sec    int64
	known  bool
	date   [19]byte // 2006-01-02T15:04:05
	digits [20]byte // sec in decimal
	n      int
}

func (c *clock) set(sec int64) {
	if c.known && c.sec == sec {
		return
	}
	c.known, c.sec = true, sec
	c.n = len(strconv.AppendInt(c.digits[:0], sec, 10))
	days := floorDiv(sec, 86400)
	rest := int(sec - days*86400)
	year, month, day := civil(days)
	copy2(c.date[0:], year/100)
	copy2(c.date[2:], year%100)
	c.date[4] = '-'
	copy2(c.date[5:], month)
	c.date[7] = '-'
	copy2(c.date[8:], day)
	c.date[10] = 'T'
	copy2(c.date[11:], rest/3600)
	c.date[13] = ':'
	copy2(c.date[14:], rest/60%60)
	c.date[16] = ':'
	copy2(c.date[17:], rest%60)
}

// appendDate appends 2006-01-02T15:04:05.000000+00:00, rounded half up.
func (c *clock) appendDate(dst []byte, sec int64, us uint32) []byte {
	c.set(sec)
	dst = append(dst, c.date[:]...)
	dst = append(dst, '.')
	dst = appendPadded(dst, us, 6)
	return append(dst, "+00:00"...)
}

// appendScaled appends sec and a fraction of so many digits as one integer.
func (c *clock) appendScaled(dst []byte, sec int64, fraction uint32, digits int) []byte {
	if sec > 0 {
		c.set(sec)
		dst = append(dst, c.digits[:c.n]...)
		return appendPadded(dst, fraction, digits)
	}
	scale := int64(1)
	for range digits {
		scale *= 10
	}
	// Nanoseconds of the years before 1678 don't fit an int64: write the
	// integer as a negative number of seconds less a positive fraction.
	if sec < 0 {
		dst = append(dst, '-')
		sec = -sec
		if fraction > 0 {
			sec, fraction = sec-1, uint32(scale)-fraction
		}
	}
	if sec == 0 {
		return strconv.AppendUint(dst, uint64(fraction), 10)
	}
	dst = strconv.AppendInt(dst, sec, 10)
	return appendPadded(dst, fraction, digits)
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// civil turns days since 1970-01-01 into a date of the Gregorian calendar. The
// year is taken to begin on March 1st, so that the leap day comes last.
func civil(days int64) (year, month, day int) {
	days += 719468 // to 0000-03-01
	era := floorDiv(days, 146097)
	doe := int(days - era*146097)                          // day of the 400 years
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365 // year of them
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	year, month, day = yoe+int(era)*400, mp+3, doy-(153*mp+2)/5+1
	if month > 12 {
		return year + 1, month - 12, day
	}
	return year, month, day
}

const digitPairs = "00010203040506070809" +
	"10111213141516171819" +
	"20212223242526272829" +
	"30313233343536373839" +
	"40414243444546474849" +
	"50515253545556575859" +
	"60616263646566676869" +
	"70717273747576777879" +
	"80818283848586878889" +
	"90919293949596979899"

func copy2(dst []byte, n int) {
	_ = dst[1]
	dst[0], dst[1] = digitPairs[2*n], digitPairs[2*n+1]
}

// appendPadded appends n with leading zeros, 6 or 9 digits in all.
func appendPadded(dst []byte, n uint32, digits int) []byte {
	var b [10]byte
	i := len(b)
	for range (digits + 1) / 2 {
		i -= 2
		copy2(b[i:], int(n%100))
		n /= 100
	}
	return append(dst, b[len(b)-digits:]...)
}

// appendInt appends n in decimal; most numbers of records are small.
func appendInt(dst []byte, n int64) []byte {
	if 0 <= n && n < 10 {
		return append(dst, byte('0'+n))
	}
	return strconv.AppendInt(dst, n, 10)
}
