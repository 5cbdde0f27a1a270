package find

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"lagan/evidence"
)

// simple are the tests without an argument.
var simple = map[string]test{
	"-true":  func(*File, *run) bool { return true },
	"-false": func(*File, *run) bool { return false },
	"-empty": func(f *File, _ *run) bool {
		return f.Info.Type == evidence.TypeFile && f.Info.Size == 0 || f.Info.Type == evidence.TypeDir && f.Empty()
	},
	"-prune":     func(_ *File, r *run) bool { r.prune = true; return true },
	"-quit":      func(_ *File, r *run) bool { r.quit = true; return true },
	"-elf":       func(f *File, _ *run) bool { return bytes.HasPrefix(f.Head(), []byte("\x7fELF")) },
	"-exec-bit":  func(f *File, _ *run) bool { return f.Info.Type == evidence.TypeFile && f.Info.Perm&0o111 != 0 },
	"-suid":      func(f *File, _ *run) bool { return f.Info.Type == evidence.TypeFile && f.Info.Perm&0o6000 != 0 },
	"-nouser":    func(f *File, r *run) bool { return !hasID(r.env.Users, f.Info.UID) },
	"-nogroup":   func(f *File, r *run) bool { return !hasID(r.env.Groups, f.Info.GID) },
	"-mount":     func(*File, *run) bool { return true }, // a tree is one filesystem
	"-xdev":      func(*File, *run) bool { return true },
	"-noleaf":    func(*File, *run) bool { return true },
	"-warn":      func(*File, *run) bool { return true },
	"-nowarn":    func(*File, *run) bool { return true },
	"-print":     told(ActionPrint),
	"-print0":    told(ActionPrint0),
	"-ls":        told(ActionLs),
	"--elf":      nil, // as with one dash
	"--exec-bit": nil,
	"--suid":     nil,
}

func told(a Action) test {
	return func(_ *File, r *run) bool { r.emit(a, ""); return true }
}

func hasID(ids map[string]uint32, id uint32) bool {
	for _, v := range ids {
		if v == id {
			return true
		}
	}
	return false
}

// refused are find's own words that have no place here, with the reason.
var refused = map[string]string{
	"-exec": "nothing is executed", "-execdir": "nothing is executed", "-ok": "nothing is executed", "-okdir": "nothing is executed",
	"-delete": "evidence is never written", "-fprint": "use --out FILE", "-fprint0": "use --out FILE", "-fprintf": "use --out FILE", "-fls": "use --out FILE",
	"-L": "links lead nowhere outside the container, and are not followed", "-H": "links are not followed", "-follow": "links are not followed",
	"-readable": "whose rights? see -perm", "-writable": "whose rights? see -perm", "-executable": "whose rights? see --exec-bit and -perm",
	"-depth": "directories always come before what is in them", "-d": "directories always come before what is in them", "-daystart": "days count from --now",
	"-xtype": "links are not followed; see -lname", "-context": "labels are shown by ls", "-fstype": "a tree is one filesystem", "-used": "no clock ran",
}

// primary parses one test or action.
func (p *parser) primary(token string) (test, error) {
	if t, ok := simple[token]; ok {
		if t == nil {
			t = simple[token[1:]]
		}
		for name, a := range map[string]Action{"-print": ActionPrint, "-print0": ActionPrint0, "-ls": ActionLs} {
			if token == name {
				p.e.actions, p.e.used[a] = true, true
			}
		}
		return t, nil
	}
	if why, ok := refused[token]; ok {
		return nil, fmt.Errorf("%s: %s", token, why)
	}
	build, ok := valued[token]
	if !ok && strings.HasPrefix(token, "-newer") {
		build, ok = newer, true
	}
	if !ok {
		return nil, fmt.Errorf("no test is called %q; `lagan find --help` has those there are", token)
	}
	v, err := p.value(token)
	if err != nil {
		return nil, err
	}
	t, err := build(p.e, token, v)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", token, err)
	}
	return t, nil
}

type builder func(e *Expr, token, v string) (test, error)

// valued are the tests with an argument.
var valued map[string]builder

func init() {
	valued = map[string]builder{
		"-name": names, "-iname": names, "-path": names, "-ipath": names, "-wholename": names, "-iwholename": names, "-lname": names, "-ilname": names,
		"-regex": regex, "-iregex": regex, "-regextype": regexType,
		"-type": types, "-size": size, "-perm": perm,
		"-mtime": ages, "-atime": ages, "-ctime": ages, "-mmin": ages, "-amin": ages, "-cmin": ages,
		"-newer": newer, "-anewer": newer, "-cnewer": newer,
		"-user": owner, "-group": owner,
		"-uid": numbers, "-gid": numbers, "-links": numbers, "-inum": numbers,
		"-samefile": sameFile, "-maxdepth": depths, "-mindepth": depths, "-printf": printf,
	}
}

func names(_ *Expr, token, v string) (test, error) {
	fold := strings.HasPrefix(token, "-i")
	var of func(*File) string
	switch {
	case strings.HasSuffix(token, "lname"):
		of = func(f *File) string {
			if f.Info.Type != evidence.TypeSymlink {
				return ""
			}
			return f.Target()
		}
		return func(f *File, _ *run) bool { return f.Info.Type == evidence.TypeSymlink && Glob(v, of(f), fold) }, nil
	case token == "-name", token == "-iname":
		of = (*File).Name
	default:
		of = func(f *File) string { return f.Path }
	}
	return func(f *File, _ *run) bool { return Glob(v, of(f), fold) }, nil
}

func regexType(e *Expr, _, v string) (test, error) {
	if _, _, err := translate("", v); err != nil {
		return nil, err
	}
	e.regex = v
	return simple["-true"], nil
}

func regex(e *Expr, token, v string) (test, error) {
	expr, _, err := translate(v, e.regex)
	if err != nil {
		return nil, err
	}
	flags := "s"
	if token == "-iregex" {
		flags += "i"
	}
	re, err := regexp.Compile("(?" + flags + ")^(?:" + expr + ")$")
	if err != nil {
		return nil, err
	}
	return func(f *File, _ *run) bool { return re.MatchString(f.Path) }, nil
}

// translate turns a regular expression of one of find's types into Go's. In
// basic ones, and Emacs's, groups, alternatives and counts have a backslash.
func translate(expr, kind string) (out, flags string, err error) {
	switch kind {
	case "posix-extended", "posix-egrep", "egrep", "awk", "posix-awk", "gnu-awk", "posix-minimal-basic":
		return expr, "", nil
	case "", "emacs", "findutils-default", "posix-basic", "grep", "sed", "ed":
	default:
		return "", "", fmt.Errorf("no type of regular expressions is called %q", kind)
	}
	special := "(){}|"
	if kind != "" && kind != "emacs" && kind != "findutils-default" {
		special += "+?"
	}
	var b strings.Builder
	class := false
	for i := 0; i < len(expr); i++ {
		c := expr[i]
		switch {
		case class:
			b.WriteByte(c)
			class = c != ']' || expr[i-1] == '['
			if c == '\\' {
				b.WriteByte(c)
			}
		case c == '[':
			class = true
			b.WriteByte(c)
		case c == '\\' && i+1 < len(expr):
			i++
			if strings.IndexByte(special, expr[i]) < 0 {
				b.WriteByte(c)
			}
			b.WriteByte(expr[i])
		case strings.IndexByte(special, c) >= 0:
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), "", nil
}

var typeLetters = map[string]evidence.Type{
	"f": evidence.TypeFile, "d": evidence.TypeDir, "l": evidence.TypeSymlink, "c": evidence.TypeChar, "b": evidence.TypeBlock,
	"p": evidence.TypeFIFO, "s": evidence.TypeSocket,
}

func types(_ *Expr, _, v string) (test, error) {
	want := make(map[evidence.Type]bool)
	for _, letter := range strings.Split(v, ",") {
		typ, ok := typeLetters[letter]
		if !ok {
			return nil, fmt.Errorf("%q is none of f, d, l, c, b, p, s", letter)
		}
		want[typ] = true
	}
	return func(f *File, _ *run) bool { return want[f.Info.Type] }, nil
}

var sizeUnits = map[byte]int64{'c': 1, 'w': 2, 'b': 512, 'k': 1 << 10, 'M': 1 << 20, 'G': 1 << 30}

// size counts in units, rounded up.
func size(_ *Expr, _, v string) (test, error) {
	unit := sizeUnits['b']
	if v != "" {
		if u, ok := sizeUnits[v[len(v)-1]]; ok {
			unit, v = u, v[:len(v)-1]
		}
	}
	n, err := parseNumber(v)
	if err != nil {
		return nil, err
	}
	return func(f *File, _ *run) bool {
		s := f.Info.Size / unit
		if f.Info.Size%unit != 0 {
			s++
		}
		return n.holds(s)
	}, nil
}

// times are the letters of the times of a file.
var times = map[byte]func(*evidence.Info) time.Time{
	'm': func(i *evidence.Info) time.Time { return i.Mtime },
	'a': func(i *evidence.Info) time.Time { return i.Atime },
	'c': func(i *evidence.Info) time.Time { return i.Ctime },
	'B': func(i *evidence.Info) time.Time { return i.Btime },
}

// ages are -mtime and its like: whole days, or minutes begun. A time that isn't
// known matches nothing.
func ages(_ *Expr, token, v string) (test, error) {
	n, err := parseNumber(v)
	if err != nil {
		return nil, err
	}
	of := times[token[1]]
	days := strings.HasSuffix(token, "time")
	return func(f *File, r *run) bool {
		t := of(&f.Info)
		if t.IsZero() {
			return false
		}
		age := r.env.Now.Sub(t)
		if days {
			whole := int64(age / (24 * time.Hour))
			if age < 0 {
				whole = -1
			}
			return n.holds(whole)
		}
		limit := time.Duration(min(n.n, 1<<33)) * time.Minute
		switch n.sign {
		case '+':
			return age > limit
		case '-':
			return age < limit
		}
		return age >= limit-time.Minute && age < limit
	}, nil
}

// newer is -newer, -anewer, -cnewer and -newerXY.
func newer(e *Expr, token, v string) (test, error) {
	x, y := byte('m'), byte('m')
	switch rest := strings.TrimPrefix(token, "-newer"); {
	case token == "-anewer", token == "-cnewer":
		x = token[1]
	case len(rest) == 2:
		x, y = rest[0], rest[1]
	case rest != "":
		return nil, fmt.Errorf("takes two letters of a, B, c, m, t")
	}
	of := times[x]
	if of == nil || y != 't' && times[y] == nil {
		return nil, fmt.Errorf("takes two letters of a, B, c, m, the second also t")
	}
	ref := new(time.Time)
	if y == 't' {
		t, err := ParseTime(v)
		if err != nil {
			return nil, err
		}
		*ref = t
	} else {
		e.bind = append(e.bind, func(env *Env) error {
			i, err := env.Stat(v)
			*ref = times[y](&i)
			if err == nil && ref.IsZero() {
				err = fmt.Errorf("%s: no such time is known of %q", token, v)
			}
			return err
		})
	}
	return func(f *File, _ *run) bool { return of(&f.Info).After(*ref) }, nil
}

// timeForms are what -newermt and --newer take. Without a zone it is UTC.
var timeForms = []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02"}

// ParseTime reads a date or a time, in UTC where it names no zone, or @SECONDS since 1970.
func ParseTime(s string) (time.Time, error) {
	if seconds, ok := strings.CutPrefix(s, "@"); ok {
		whole, fraction, _ := strings.Cut(seconds, ".")
		n, err := strconv.ParseInt(whole, 10, 48)
		ns, err2 := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
		if err == nil && err2 == nil {
			return time.Unix(n, ns).UTC(), nil
		}
	}
	for _, form := range timeForms {
		if t, err := time.Parse(form, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time such as 2026-11-22, 2026-11-22T09:00:00Z or @1700000000", s)
}

// owner is -user and -group: a name of the tree, or a number.
func owner(e *Expr, token, v string) (test, error) {
	id := new(uint32)
	e.bind = append(e.bind, func(env *Env) error {
		ids, kind := env.Users, "user"
		if token == "-group" {
			ids, kind = env.Groups, "group"
		}
		n, ok := ids[v]
		if !ok {
			number, err := strconv.ParseUint(v, 10, 32)
			if err != nil {
				return fmt.Errorf("%s: no %s is called %q there", token, kind, v)
			}
			n = uint32(number)
		}
		*id = n
		return nil
	})
	if token == "-group" {
		return func(f *File, _ *run) bool { return f.Info.GID == *id }, nil
	}
	return func(f *File, _ *run) bool { return f.Info.UID == *id }, nil
}

func numbers(_ *Expr, token, v string) (test, error) {
	n, err := parseNumber(v)
	if err != nil {
		return nil, err
	}
	of := map[string]func(*evidence.Info) int64{
		"-uid":   func(i *evidence.Info) int64 { return int64(i.UID) },
		"-gid":   func(i *evidence.Info) int64 { return int64(i.GID) },
		"-links": func(i *evidence.Info) int64 { return int64(i.Nlink) },
		"-inum":  func(i *evidence.Info) int64 { return int64(i.Inode) },
	}[token]
	return func(f *File, _ *run) bool { return n.holds(of(&f.Info)) }, nil
}

func sameFile(e *Expr, _, v string) (test, error) {
	want := new(evidence.Info)
	e.bind = append(e.bind, func(env *Env) (err error) {
		*want, err = env.Stat(v)
		return err
	})
	return func(f *File, _ *run) bool {
		return f.Info.Inode == want.Inode && f.Info.Type == want.Type && want.Inode != 0
	}, nil
}

func depths(e *Expr, token, v string) (test, error) {
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil {
		return nil, fmt.Errorf("%q is no depth", v)
	}
	if token == "-maxdepth" {
		e.MaxDepth = int(n)
	} else {
		e.MinDepth = int(n)
	}
	return simple["-true"], nil
}

// perm is -perm MODE, -MODE (all of these) or /MODE (any of these).
func perm(_ *Expr, _, v string) (test, error) {
	kind := byte(0)
	if v != "" && (v[0] == '-' || v[0] == '/') {
		kind, v = v[0], v[1:]
	}
	mode, err := parseMode(v)
	if err != nil {
		return nil, err
	}
	return func(f *File, _ *run) bool {
		switch kind {
		case '-':
			return f.Info.Perm&mode == mode
		case '/':
			return mode == 0 || f.Info.Perm&mode != 0
		}
		return f.Info.Perm == mode
	}, nil
}

// parseMode reads an octal mode, or a symbolic one as chmod takes it, from no rights on.
func parseMode(s string) (uint16, error) {
	if n, err := strconv.ParseUint(s, 8, 16); err == nil && n <= 0o7777 {
		return uint16(n), nil
	}
	bad := fmt.Errorf("%q is no mode such as 755, -4000 or /u+s", s)
	var mode uint16
	for _, clause := range strings.Split(s, ",") {
		at := strings.IndexAny(clause, "+-=")
		if at < 0 {
			return 0, bad
		}
		var who uint16
		for _, c := range clause[:at] {
			bits, ok := map[rune]uint16{'u': 0o4700, 'g': 0o2070, 'o': 0o1007, 'a': 0o7777}[c]
			if !ok {
				return 0, bad
			}
			who |= bits
		}
		if at == 0 {
			who = 0o7777
		}
		var what uint16
		for _, c := range clause[at+1:] {
			bits, ok := map[rune]uint16{'r': 0o444, 'w': 0o222, 'x': 0o111, 's': 0o6000, 't': 0o1000}[c]
			if !ok {
				return 0, bad
			}
			if c == 't' {
				who |= 0o1000
			}
			what |= bits
		}
		switch what &= who; clause[at] {
		case '+':
			mode |= what
		case '-':
			mode &^= what
		case '=':
			mode = mode&^who | what
		}
	}
	return mode, nil
}
