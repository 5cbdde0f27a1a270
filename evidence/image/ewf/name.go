package ewf

import "fmt"

// SegmentName returns the name of the segment file with number n, from 2 on,
// of an image whose first one is called first: .E01 to .E99, then .EAA to
// .ZZZ, in the case of the first one's letter. It is "" for a name that doesn't
// end in a letter and 01, and for numbers past the last name.
func SegmentName(first string, n int) string {
	if len(first) < 4 || first[len(first)-2:] != "01" || first[len(first)-4] != '.' {
		return ""
	}
	stem, letter := first[:len(first)-3], first[len(first)-3]
	a, last := byte('A'), byte('Z')
	if letter >= 'a' && letter <= 'z' {
		a, last = 'a', 'z'
	}
	if letter < a || letter > last || n < 2 {
		return ""
	}
	if n <= 99 {
		return fmt.Sprintf("%s%c%02d", stem, letter, n)
	}
	n -= 100
	lead := int(letter) + n/(26*26)
	if lead > int(last) {
		return ""
	}
	return fmt.Sprintf("%s%c%c%c", stem, lead, int(a)+n/26%26, int(a)+n%26)
}
