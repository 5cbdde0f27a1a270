package find

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"lagan/evidence"
)

// part is one directive of a -printf, or text.
type part struct {
	text  string
	verb  byte // 0: text
	time  byte // of %A, %B, %C, %T: what of the time
	flags string
	width int
	left  bool
}

const verbs = "pPfhHsbkmMnuUgGiylYdtacDF"

// maxWidth bounds a directive's field.
const maxWidth = 1000

// printf is -printf FORMAT.
func printf(e *Expr, _, v string) (test, error) {
	parts, err := parseFormat(v)
	if err != nil {
		return nil, err
	}
	e.actions, e.used[ActionPrintf] = true, true
	return func(f *File, r *run) bool {
		var b strings.Builder
		for _, p := range parts {
			b.WriteString(p.format(f, r.env))
		}
		r.emit(ActionPrintf, b.String())
		return true
	}, nil
}

func parseFormat(s string) ([]part, error) {
	var out []part
	text := func(t string) { out = append(out, part{text: t}) }
	for i := 0; i < len(s); {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			t, n, stop := escape(s[i:])
			text(t)
			if i += n; stop {
				return out, nil
			}
		case s[i] == '%':
			p, n, err := directive(s[i:])
			if err != nil {
				return nil, err
			}
			out = append(out, p)
			i += n
		default:
			text(s[i : i+1])
			i++
		}
	}
	return out, nil
}

// escape reads \n and its like. \c ends the output.
func escape(s string) (text string, n int, stop bool) {
	if s[1] >= '0' && s[1] <= '7' {
		end := 2
		for end < min(len(s), 4) && s[end] >= '0' && s[end] <= '7' {
			end++
		}
		v, _ := strconv.ParseUint(s[1:end], 8, 16)
		return string([]byte{byte(v)}), end, false
	}
	if s[1] == 'c' {
		return "", 2, true
	}
	if t, ok := map[byte]string{'a': "\a", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v", '\\': "\\"}[s[1]]; ok {
		return t, 2, false
	}
	return s[:2], 2, false
}

func directive(s string) (part, int, error) {
	var p part
	i := 1
	for i < len(s) && strings.IndexByte("-0# +", s[i]) >= 0 {
		p.left = p.left || s[i] == '-'
		p.flags += s[i : i+1]
		i++
	}
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		if p.width = p.width*10 + int(s[i]-'0'); p.width > maxWidth {
			return p, 0, fmt.Errorf("a field of more than %d characters", maxWidth)
		}
		i++
	}
	if i >= len(s) {
		return p, 0, fmt.Errorf("%q is no directive", s)
	}
	p.verb = s[i]
	switch {
	case s[i] == '%':
		return part{text: "%"}, i + 1, nil
	case strings.IndexByte("ABCT", s[i]) >= 0:
		if i+1 >= len(s) || strings.IndexByte("@+YymdHIMSTFDRrZzjaAbBpkl", s[i+1]) < 0 {
			return p, 0, fmt.Errorf("%q is no directive of a time", s[:min(len(s), i+2)])
		}
		p.time = s[i+1]
		return p, i + 2, nil
	case strings.IndexByte(verbs, s[i]) >= 0:
		return p, i + 1, nil
	}
	return p, 0, fmt.Errorf("%q is no directive", s[:i+1])
}

func (p *part) format(f *File, env *Env) string {
	if p.verb == 0 {
		return p.text
	}
	s := p.value(f, env)
	if n := p.width - len(s); n > 0 {
		switch {
		case p.left:
			s += strings.Repeat(" ", n)
		case strings.Contains(p.flags, "0"):
			s = strings.Repeat("0", n) + s
		default:
			s = strings.Repeat(" ", n) + s
		}
	}
	return s
}

func (p *part) value(f *File, env *Env) string {
	i := &f.Info
	switch p.verb {
	case 'p':
		return f.Path
	case 'P':
		return strings.TrimPrefix(strings.TrimPrefix(f.Path, f.Start), "/")
	case 'H':
		return f.Start
	case 'f':
		return f.Name()
	case 'h':
		return dirOf(f.Path)
	case 's':
		return strconv.FormatInt(i.Size, 10)
	case 'b':
		return strconv.FormatInt((i.Size+511)/512, 10)
	case 'k':
		return strconv.FormatInt((i.Size+1023)/1024, 10)
	case 'm':
		if strings.Contains(p.flags, "#") {
			return fmt.Sprintf("%#o", i.Perm)
		}
		return strconv.FormatUint(uint64(i.Perm), 8)
	case 'M':
		return i.Mode()
	case 'n':
		return fmt.Sprint(i.Nlink)
	case 'i':
		return fmt.Sprint(i.Inode)
	case 'u':
		return nameOf(env.Users, i.UID)
	case 'g':
		return nameOf(env.Groups, i.GID)
	case 'U':
		return fmt.Sprint(i.UID)
	case 'G':
		return fmt.Sprint(i.GID)
	case 'y', 'Y':
		return Letter(i.Type)
	case 'l':
		if i.Type == evidence.TypeSymlink {
			return f.Target()
		}
		return ""
	case 'd':
		return strconv.Itoa(f.Depth)
	case 'D':
		return "0"
	case 'F':
		return ""
	}
	of := map[byte]byte{'t': 'm', 'a': 'a', 'c': 'c', 'T': 'm', 'A': 'a', 'C': 'c', 'B': 'B'}[p.verb]
	t := times[of](i)
	switch {
	case t.IsZero():
		return ""
	case p.time == 0:
		return t.UTC().Format("Mon Jan _2 15:04:05.000000000") + "0 " + t.UTC().Format("2006") // find prints ten decimals
	}
	return formatTime(t.UTC(), p.time)
}

// formatTime is one letter of strftime, with find's own @ and +.
func formatTime(t time.Time, letter byte) string {
	const tail = "0" // find prints ten decimals
	switch letter {
	case '@':
		return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()) + tail
	case '+':
		return t.Format("2006-01-02+15:04:05.000000000") + tail
	case 'S':
		return t.Format("05.000000000") + tail
	case 'T':
		return t.Format("15:04:05.000000000") + tail
	case 'j':
		return fmt.Sprintf("%03d", t.YearDay())
	case 'k':
		return fmt.Sprintf("%2d", t.Hour())
	}
	return t.Format(map[byte]string{
		'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'H': "15", 'I': "03", 'M': "04", 'F': "2006-01-02", 'D': "01/02/06", 'R': "15:04",
		'r': "03:04:05 PM", 'Z': "MST", 'z': "-0700", 'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'p': "PM", 'l': "_3",
	}[letter])
}

func dirOf(path string) string {
	path = strings.TrimRight(path, "/")
	at := strings.LastIndexByte(path, '/')
	if at < 0 {
		return "."
	}
	return path[:at]
}

// nameOf gives the first name, in the order of names, of an id, else the number.
func nameOf(ids map[string]uint32, id uint32) string {
	found := ""
	for name, v := range ids {
		if v == id && (found == "" || name < found) {
			found = name
		}
	}
	if found == "" {
		return fmt.Sprint(id)
	}
	return found
}

// Letter is the letter of a type, as -type takes it.
func Letter(t evidence.Type) string {
	for letter, typ := range typeLetters {
		if typ == t {
			return letter
		}
	}
	return "U"
}

// Ls is the line that -ls prints, without its end.
func Ls(f *File, env *Env) string {
	i := &f.Info
	size := strconv.FormatInt(i.Size, 10)
	if i.Type == evidence.TypeChar || i.Type == evidence.TypeBlock {
		size = fmt.Sprintf("%d, %3d", i.Major, i.Minor)
	}
	when := ""
	if !i.Mtime.IsZero() {
		when = i.Mtime.UTC().Format("Jan _2 15:04")
		if age := env.Now.Sub(i.Mtime); age < -time.Hour || age > 183*24*time.Hour {
			when = i.Mtime.UTC().Format("Jan _2  2006")
		}
	}
	line := fmt.Sprintf("%9d %6d %s %3d %-8s %-8s %8s %12s %s", i.Inode, (i.Size+1023)/1024, i.Mode(), i.Nlink,
		nameOf(env.Users, i.UID), nameOf(env.Groups, i.GID), size, when, f.Path)
	if i.Type == evidence.TypeSymlink {
		line += " -> " + f.Target()
	}
	return line
}
