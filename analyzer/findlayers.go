package analyzer

import (
	"bytes"
	"io"
	"maps"
	"regexp"
	"slices"
	"unicode/utf8"

	"lagan/evidence"
	"lagan/findings"
	"lagan/runtimes"
)

// layerFinder looks for secrets that an image's later layer hides.
type layerFinder struct {
	*finder
	hidden map[string][]string      // by path: the layers that white it out
	files  map[string][]layerSecret // by path
	count  int
}

type layerSecret struct {
	layer string
	e     findings.Evidence
}

// maxSecrets bounds what is remembered of layers.
const maxSecrets = 100_000

// secretNames are paths of files that hold secrets, if they hold anything.
var secretNames = regexp.MustCompile(`(?i)/(id_(rsa|dsa|ecdsa|ed25519)|[^/]*secrets?(\.[a-z]+)?|credentials(\.[a-z]+)?|[^/]*passwords?(\.txt)?|\.env(\.[a-z]+)?|\.netrc|\.pgpass|\.git-credentials|\.npmrc|\.pypirc|\.dockerconfigjson|\.aws/config|kubeconfig|[^/]+\.(pem|key|p12|pfx|jks|keystore|kdbx)|service[-_]?account[^/]*\.json|[^/]*token(\.txt)?)$`)

// secretWords are texts of which the last element of such a path has one. Nearly all
// files of an image have none, and are not held against the pattern.
var secretWords = [...]string{
	"id_", "secret", "credential", "password", ".env", ".netrc", ".pgpass", ".npmrc", ".pypirc", ".dockerconfigjson", "config",
	".pem", ".key", ".p12", ".pfx", ".jks", ".kdbx", "account", "token",
}

// holdsSecret says whether a file's path is one of secretNames.
func holdsSecret(path []byte) bool {
	var low [256]byte
	name := path[bytes.LastIndexByte(path, '/')+1:]
	if len(name) > len(low) { // of no filesystem's
		return secretNames.Match(path)
	}
	for i, c := range name {
		if c >= utf8.RuneSelf { // two of which are k and s, for who ignores case
			return secretNames.Match(path)
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		low[i] = c
	}
	for _, w := range secretWords {
		if bytes.Contains(low[:len(name)], []byte(w)) {
			return secretNames.Match(path)
		}
	}
	return false
}

// publicKeys are folders whose files are called like secrets and are none.
var publicKeys = regexp.MustCompile(`/(ca-certificates|ssl/certs|pki/tls/certs|certs?|node_modules|site-packages|dist-packages|testdata|tests?|doc|docs|examples?|zoneinfo|locale|keyrings|apt)/`)

// secretText are secrets by their form.
var secretText = regexp.MustCompile(`-----BEGIN (RSA |EC |OPENSSH |DSA |ENCRYPTED )?PRIVATE KEY-----|\b(AKIA|ASIA)[0-9A-Z]{12,16}\b|\bghp_[0-9A-Za-z]{36}\b|\bgithub_pat_[0-9A-Za-z_]{60,}|\bglpat-[0-9A-Za-z_-]{20}|\bxox[abprs]-[0-9A-Za-z-]{10,}|\bAIza[0-9A-Za-z_-]{35}\b|"private_key":\s*"-----BEGIN`)

// file looks at a file of a layer, as the timeline tells it.
func (f *layerFinder) file(t *volumeTeller, i int32, in folder, name []byte) {
	n := t.x.node(i)
	if f.count >= maxSecrets || n.typ == evidence.TypeDir || !holdsSecret(name) || publicKeys.Match(name) {
		return
	}
	p := string(name)
	if f.hidden == nil {
		f.hidden, f.files = make(map[string][]string), make(map[string][]layerSecret)
	}
	f.count++
	x := &t.x.extras[n.extra]
	if n.typ == evidence.TypeChar && x.major == 0 && x.minor == 0 {
		f.hidden[p] = append(f.hidden[p], in.diffID)
		return
	}
	if n.typ != evidence.TypeFile || n.size == 0 {
		return
	}
	info := t.x.info(i)
	e := findings.Evidence{Kind: findings.KindImage, Place: in.prefix + p, Path: p, Offset: -1, Field: "layer", File: fileEvidence(&info, "", "")}
	e.Time, e.TimeOf = info.Mtime, "modified"
	fsys, ino := t.v.FS, t.x.inos.at(i)
	e.Open = func() (*io.SectionReader, error) { return fsys.Open(ino) }
	f.files[p] = append(f.files[p], layerSecret{in.diffID, e})
}

// finish tells the secrets that an image has in one layer and hides in a later
// one: of the images that share both, those that have a name, or else the first.
func (f *layerFinder) finish() {
	for _, p := range slices.Sorted(maps.Keys(f.files)) {
		for _, s := range f.files[p] {
			var images []*Image
			for _, i := range f.n.Images() {
				if f.hides(i, p, s.layer) {
					images = append(images, i)
				}
			}
			named := slices.DeleteFunc(slices.Clone(images), func(i *Image) bool { return len(i.Names) == 0 })
			if len(named) == 0 {
				named = images[:min(len(images), 1)]
			}
			for _, i := range named {
				f.tell(i, p, s)
			}
		}
	}
}

// hides says whether an image has a layer and, over it, one that whites a path out.
func (f *layerFinder) hides(i *Image, p, layer string) bool {
	for k, l := range i.Rootfs.Lower { // the uppermost first
		if firstOf(l.DiffID, l.Dir) != layer {
			continue
		}
		return slices.ContainsFunc(i.Rootfs.Lower[:k], func(l runtimes.Layer) bool { return slices.Contains(f.hidden[p], firstOf(l.DiffID, l.Dir)) })
	}
	return false
}

func (f *layerFinder) tell(i *Image, p string, s layerSecret) {
	e := s.e
	e.Place = "IMAGE:" + i.DisplayName() + ":" + p
	e.Value = "layer " + s.layer
	if r, err := e.Open(); err == nil {
		if m := secretText.FindString(textOf(r)); m != "" {
			e.Value += ": " + m[:min(len(m), 4)] + "..."
		}
	}
	f.all.Add(f.set.Rule("secret-in-layer"), i.DisplayName(), e)
}
