// Package arch holds the rules of who may import whom, as a test.
package arch

import (
	"path"
	"strings"
	"testing"
)

// ranks gives each part of the tree what it may import of the module, by
// prefix. Packages nearer the disk don't know those above them, and parts of
// one rank don't know each other: what they share is lagan/evidence.
var ranks = []struct {
	pkg     string // a package, or with /... all below it
	imports []string
}{
	{"internal/bin", nil},
	{"internal/text", nil},
	{"internal/confine", nil},
	{"internal/isolate", nil},
	{"internal/durable", nil},
	{"internal/piece", []string{"evidence"}},
	{"internal/jsonscan", nil},
	{"internal/jsonscan/scantest", []string{"internal/jsonscan"}}, // for tests alone
	{"internal/needs", nil},                                       // for tests alone
	{"internal/arch", nil},
	{"internal/sqlite", []string{"evidence"}},
	{"evidence", nil},
	{"evidence/memfs", []string{"evidence"}},
	{"evidence/ext4", []string{"evidence", "evidence/jbd2", "evidence/remains", "internal/bin"}},
	{"evidence/xfs", []string{"evidence", "evidence/xfs/xlog", "evidence/remains", "internal/bin"}},
	{"evidence/remains/remainstest", []string{"evidence"}},                    // makes deleted files, for tests alone
	{"evidence/packtest", []string{"evidence", "fixtures", "internal/needs"}}, // for tests alone
	{"evidence/image/imagetest", []string{"..."}},                             // runs the real tools, for tests alone
	{"evidence/image/ebs/ebstest", nil},                                       // a service for tests
	{"evidence/image/...", []string{"evidence", "internal/piece", "internal/bin"}},
	{"evidence/volume/thin/thintest", nil}, // for tests alone
	{"evidence/volume/lvm", []string{"evidence", "evidence/volume/thin", "internal/piece", "internal/bin"}},
	{"evidence/volume/...", []string{"evidence", "internal/piece", "internal/bin"}},
	{"evidence/...", []string{"evidence", "internal/bin"}},
	{"runtimes", nil},
	{"runtimes/containerd", []string{"evidence", "runtimes", "runtimes/boltdb", "runtimes/kubernetes", "runtimes/oci", "runtimes/internal/...", "internal/bin", "internal/jsonscan"}},
	{"runtimes/docker", []string{"evidence", "runtimes", "runtimes/boltdb", "runtimes/kubernetes", "runtimes/oci", "runtimes/internal/...", "internal/bin", "internal/jsonscan"}},
	{"runtimes/storage", []string{"evidence", "runtimes", "runtimes/boltdb", "internal/sqlite", "runtimes/kubernetes", "runtimes/oci", "runtimes/internal/...", "internal/bin"}},
	{"runtimes/kubernetes", []string{"evidence", "runtimes", "runtimes/internal/...", "internal/bin"}},
	{"runtimes/internal/treetest", []string{"..."}}, // opens fixtures, for tests alone
	{"runtimes/buildkit", []string{"evidence", "runtimes", "runtimes/containerd", "runtimes/internal/..."}},
	{"runtimes/internal/builds", []string{"evidence", "runtimes", "runtimes/boltdb", "runtimes/oci", "runtimes/internal/..."}},
	{"runtimes/oci", []string{"evidence", "runtimes", "internal/jsonscan"}},
	{"runtimes/...", []string{"evidence", "runtimes", "runtimes/oci", "runtimes/internal/...", "internal/bin"}},
	{"layers", []string{"evidence", "internal/bin"}},
	{"overlay", []string{"evidence", "internal/bin"}},
	{"export/ext4", []string{"evidence"}},
	{"export", []string{"evidence", "internal/durable", "internal/text"}}, // what leaves a tree, apart from layers, which compares what is in one
	{"find", []string{"evidence"}},
	{"hashset", []string{"evidence", "internal/sqlite"}},
	{"batch", []string{"internal/durable"}},
	{"mount", []string{"evidence"}},
	{"artifacts/...", []string{"evidence", "artifacts/lines", "artifacts/stamp", "internal/bin", "internal/text"}},
	{"timeline", []string{"internal/text"}},
	{"timeline/sqlitefile", nil},
	{"findings", []string{"internal/text"}},
	{"report", []string{"findings", "internal/text"}},
	{"checkpoint", []string{"evidence"}},
	{"analyzer", []string{"checkpoint", "find", "hashset", "evidence/...", "internal/sqlite", "runtimes/...", "layers", "overlay", "export", "mount", "artifacts/...", "timeline", "findings", "report"}},
	{"cmd/lagan", []string{"checkpoint", "batch", "find", "analyzer", "mount", "evidence", "runtimes", "layers", "timeline", "findings", "report", "internal/text", "internal/confine", "internal/durable", "internal/isolate"}},
	{"fixtures", nil},
	{"scripts/...", []string{"..."}},
}

// banned is never imported outside tests: nothing is executed, nothing goes
// over a network, no memory is read past its bounds.
var banned = []string{"os/exec", "net", "net/http", "unsafe", "plugin", "C"}

// doors lists which parts may open files of the analyst's machine.
var doors = []string{"batch", "cmd/lagan", "mount", "evidence/image", "evidence/hostdir", "timeline", "export", "internal/confine", "internal/durable", "internal/isolate"}

// third lists where each module of others may be used outside tests.
var third = map[string][]string{
	"github.com/spf13/":             {"cmd/lagan"},
	"golang.org/x/term":             {"cmd/lagan"},
	"github.com/landlock-lsm/":      {"internal/confine"},
	"github.com/elastic/":           {"internal/confine"},
	"github.com/hanwen/go-fuse":     {"mount"},
	"golang.org/x/sys":              {"evidence/image", "evidence/hostdir", "evidence/remains/remainstest", "evidence/packtest", "mount", "internal/durable", "scripts"},
	"github.com/klauspost/compress": {"layers", "evidence", "fixtures", "timeline", "artifacts", "scripts"},
	"github.com/diskfs/go-diskfs":   {"evidence"},
	"go.etcd.io/bbolt":              {"runtimes/internal/treetest", "scripts"}, // writes databases for tests and measurements
	"github.com/ulikunitz/xz":       {"evidence", "layers", "artifacts"},
	"github.com/pierrec/lz4":        {"evidence", "layers", "artifacts"},
	"github.com/anchore/go-lzo":     {"evidence"},
	"github.com/opencontainers/":    {"layers", "runtimes"},
	"github.com/aws/":               {"evidence/image/ebs"}, // in the build with the tag ebs alone
	"go.yaml.in/yaml":               {"findings"},
}

func TestImports(t *testing.T) {
	sources(t, func(rel string) {
		if strings.HasSuffix(rel, "_test.go") {
			return // tests may look sideways, and run the real tools
		}
		pkg := path.Dir(rel)
		for _, name := range imports(t, rel) {
			own, isOwn := strings.CutPrefix(name, "lagan/")
			switch {
			case isOwn && !allowed(pkg, own):
				t.Errorf("%s imports lagan/%s, which stands above or beside it", rel, own)
			case !isOwn && isBanned(pkg, name):
				t.Errorf("%s imports %s, which nothing of lagan may", rel, name)
			case !isOwn && !mayUse(pkg, name):
				t.Errorf("%s imports %s, which has its door elsewhere", rel, name)
			}
		}
	})
}

func allowed(pkg, own string) bool {
	for _, r := range ranks {
		if !matches(r.pkg, pkg) {
			continue
		}
		if strings.HasPrefix(own, pkg+"/") {
			return true // a package's own parts
		}
		for _, i := range r.imports {
			if matches(i, own) {
				return true
			}
		}
		return false
	}
	return false
}

func matches(pattern, pkg string) bool {
	if base, ok := strings.CutSuffix(pattern, "..."); ok {
		base = strings.TrimSuffix(base, "/")
		return base == "" || pkg == base || strings.HasPrefix(pkg, base+"/")
	}
	return pattern == pkg
}

func isBanned(pkg, name string) bool {
	if forTests(pkg) {
		return name == "C" // they drive the kernel, the real tools and services of their own
	}
	for _, b := range banned {
		if name == b {
			return true
		}
	}
	return false
}

func mayUse(pkg, name string) bool {
	if name == "os" {
		return forTests(pkg) || under(pkg, doors)
	}
	for module, places := range third {
		if strings.HasPrefix(name, module) {
			return under(pkg, places)
		}
	}
	return !strings.Contains(strings.SplitN(name, "/", 2)[0], ".")
}

func under(pkg string, places []string) bool {
	for _, p := range places {
		if pkg == p || strings.HasPrefix(pkg, p+"/") {
			return true
		}
	}
	return false
}
