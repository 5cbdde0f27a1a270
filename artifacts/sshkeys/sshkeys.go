// Package sshkeys reads OpenSSH's authorized_keys and known_hosts: who may come
// in, and where someone went. It follows sshd(8), AUTHORIZED_KEYS FILE FORMAT and
// SSH_KNOWN_HOSTS FILE FORMAT.
//
// Input is hostile: lines are bounded. A line that sshd would pass over is given
// with its text alone: someone wrote it.
package sshkeys

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"io"
	"iter"
	"strings"

	"lagan/artifacts/lines"
)

// Key is one line of either file.
type Key struct {
	Offset      int64
	Options     string // of authorized_keys: command="...", no-pty
	Marker      string // of known_hosts: @revoked, @cert-authority
	Hosts       string // of known_hosts; a hashed one is as it stands
	Type        string
	Fingerprint string // SHA256:..., "" where the line holds no key
	Comment     string
	Text        string
}

// Authorized yields the keys of an authorized_keys file.
func Authorized(r io.Reader) iter.Seq2[Key, error] {
	return each(r, func(k *Key) {
		rest := k.Text
		word, after := next(rest)
		if !isType(word) {
			k.Options, rest = word, after
			word, after = next(rest)
		}
		k.key(word, after)
	})
}

// Known yields the keys of a known_hosts file.
func Known(r io.Reader) iter.Seq2[Key, error] {
	return each(r, func(k *Key) {
		word, rest := next(k.Text)
		if strings.HasPrefix(word, "@") {
			k.Marker = word
			word, rest = next(rest)
		}
		k.Hosts = word
		word, rest = next(rest)
		k.key(word, rest)
	})
}

func each(r io.Reader, parse func(*Key)) iter.Seq2[Key, error] {
	return func(yield func(Key, error) bool) {
		for line, err := range lines.Read(r) {
			var k Key
			if err == nil {
				k = Key{Offset: line.Offset, Text: strings.TrimSpace(string(line.Text))}
				if k.Text == "" || k.Text[0] == '#' {
					continue
				}
				parse(&k)
			}
			if !yield(k, err) {
				return
			}
		}
	}
}

// key reads TYPE, BASE64 and a comment. The type stands in the key too.
func (k *Key) key(typ, rest string) {
	if !isType(typ) {
		*k = Key{Offset: k.Offset, Text: k.Text}
		return
	}
	encoded, comment := next(rest)
	k.Type, k.Comment = typ, comment
	blob, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(blob) < 4 || uint64(binary.BigEndian.Uint32(blob)) > uint64(len(blob)-4) {
		return
	}
	sum := sha256.Sum256(blob)
	k.Fingerprint = "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// isType says whether a word names a kind of key (sshkey.c).
func isType(s string) bool {
	for _, p := range []string{"ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-sha2-", "webauthn-sk-"} {
		if strings.HasPrefix(s, p) && !strings.ContainsAny(s, `"=,`) {
			return true
		}
	}
	return false
}

// next takes a word off, up to a blank outside of double quotes.
func next(s string) (word, rest string) {
	s = strings.TrimLeft(s, " \t")
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && s[i+1] == '"':
			i++
		case c == '"':
			quoted = !quoted
		case (c == ' ' || c == '\t') && !quoted:
			return s[:i], strings.TrimLeft(s[i:], " \t")
		}
	}
	return s, ""
}

// Host splits one host of known_hosts: [HOST]:PORT, or HOST alone. A hashed one
// is neither.
func Host(s string) (host, port string) {
	if rest, ok := strings.CutPrefix(s, "["); ok {
		if host, port, ok := strings.Cut(rest, "]:"); ok {
			return host, port
		}
	}
	if strings.HasPrefix(s, "|1|") {
		return "", ""
	}
	return s, ""
}
