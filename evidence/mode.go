package evidence

// typeModes are the first letters of modes, as ls -l has them.
var typeModes = map[Type]byte{
	TypeUnknown: '?', TypeFile: '-', TypeDir: 'd', TypeSymlink: 'l', TypeChar: 'c', TypeBlock: 'b', TypeFIFO: 'p', TypeSocket: 's',
}

// Mode is the type and the permissions as ls -l prints them: -rwsr-xr-x.
func (i *Info) Mode() string {
	b := []byte{typeModes[i.Type]}
	for k := range 9 {
		c := byte('-')
		if i.Perm&(0o400>>k) != 0 {
			c = "rwx"[k%3]
		}
		b = append(b, c)
	}
	for _, s := range [...]struct {
		bit           uint16
		at            int
		with, without byte // the right to execute
	}{{0o4000, 3, 's', 'S'}, {0o2000, 6, 's', 'S'}, {0o1000, 9, 't', 'T'}} {
		if i.Perm&s.bit == 0 {
			continue
		}
		if b[s.at] == 'x' {
			b[s.at] = s.with
		} else {
			b[s.at] = s.without
		}
	}
	return string(b)
}
