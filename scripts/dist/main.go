// Command dist builds a release into a folder: static binaries (lagan-ebs the one with a network), Debian packages
// with manual pages and completions, an OCI image that holds nothing but the
// program, a list of what the binaries are made of, their licences, and checksums.
//
// What comes out depends on the commit and the version alone: paths are
// trimmed, every time is the commit's, archives are written here in a fixed
// order. Two runs give the same bytes, on any machine with the same Go.
//
//	go run ./scripts/dist -o dist [-version 1.2.3] [-platforms linux-amd64]
//	go run ./scripts/dist -verify dist [the same flags]
//
// The second builds it again, elsewhere and otherwise, and compares.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// platform is one that binaries are built for.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "-" + p.arch }

var platforms = []platform{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"}}

// releaseOf is what is known of the release.
type releaseOf struct {
	version, commit string
	at              time.Time // of the commit
	out, tmp        string
}

func main() {
	log.SetFlags(0)
	out := flag.String("o", "dist", "the folder to write, which must not be there")
	version := flag.String("version", "", "the version; by default of the commit's tag, else 0.0.0-dev and the commit")
	only := flag.String("platforms", "", "those to build for, such as linux-amd64,linux-arm64; by default all")
	release := flag.String("verify", "", "a folder that -o has written, to compare with the same built again")
	flag.Parse()
	if *only != "" {
		platforms = slices.DeleteFunc(platforms, func(p platform) bool { return !slices.Contains(strings.Split(*only, ","), p.String()) })
	}
	if len(platforms) == 0 {
		log.Fatalf("dist: no platform is called %q", *only)
	}
	var err error
	if *release != "" {
		err = verify(*release, []string{"-version", *version, "-platforms", *only})
	} else {
		err = build(*out, *version)
	}
	if err != nil {
		log.Fatal("dist: ", err)
	}
}

func build(out, version string) error {
	if _, err := os.Lstat(out); err == nil {
		return fmt.Errorf("%s is there already", out)
	}
	r, err := describe(version)
	if err != nil {
		return err
	}
	if r.tmp, err = os.MkdirTemp(filepath.Dir(out), ".dist-"); err != nil {
		return err
	}
	defer os.RemoveAll(r.tmp)
	r.out = filepath.Join(r.tmp, "out")
	if err := os.Mkdir(r.out, 0o755); err != nil {
		return err
	}
	binaries, withNetwork := map[platform]string{}, map[platform]string{}
	for _, p := range platforms {
		if binaries[p], err = r.compile(p, "lagan", ""); err != nil {
			return err
		}
		if withNetwork[p], err = r.compile(p, "lagan-ebs", "ebs"); err != nil {
			return err
		}
	}
	manual, err := r.manual()
	if err != nil {
		return err
	}
	if err := r.manualArchive(manual); err != nil {
		return err
	}
	licences, err := r.licences(binaries, withNetwork)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(r.out, fmt.Sprintf("lagan_%s_licences.txt", r.version)), licences, 0o644); err != nil {
		return err
	}
	for _, p := range platforms {
		if p.os == "linux" {
			if err := r.debian(p, binaries[p], manual, licences); err != nil {
				return err
			}
		}
	}
	if err := r.image(binaries, licences); err != nil {
		return err
	}
	if err := r.sbom(binaries, withNetwork); err != nil {
		return err
	}
	if err := r.checksums(); err != nil {
		return err
	}
	return os.Rename(r.out, out)
}

// describe asks git which commit this is.
func describe(version string) (*releaseOf, error) {
	r := &releaseOf{version: version}
	line, err := git("log", "-1", "--format=%H %ct")
	if err != nil {
		return nil, err
	}
	commit, seconds, _ := strings.Cut(line, " ")
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("the time of the commit: %w", err)
	}
	r.commit, r.at = commit, time.Unix(n, 0).UTC()
	if r.version == "" {
		if tag, err := git("describe", "--tags", "--exact-match"); err == nil {
			r.version = strings.TrimPrefix(tag, "v")
		} else {
			r.version = "0.0.0-dev." + r.at.Format("20060102150405") + "." + commit[:12]
		}
	}
	if changes, err := git("status", "--porcelain", "--untracked-files=no"); err != nil || changes != "" {
		r.version += ".changed"
	}
	return r, nil
}

func git(args ...string) (string, error) {
	out, err := exec.Command("git", args...).Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

// compile builds the program for a platform, under a name and with build tags.
func (r *releaseOf) compile(p platform, program, tags string) (string, error) {
	name := fmt.Sprintf("%s_%s_%s", program, r.version, p)
	if p.os == "windows" {
		name += ".exe"
	}
	path := filepath.Join(r.out, name)
	flags := fmt.Sprintf("-s -w -buildid= -X main.release=%s -X main.commit=%s -X main.committed=%s", r.version, r.commit, r.at.Format(time.RFC3339))
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", tags, "-ldflags", flags, "-o", path, "./cmd/lagan")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOOS="+p.os, "GOARCH="+p.arch, "GOAMD64=v1", "GOARM64=v8.0")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("building for %s: %w", p, err)
	}
	return path, nil
}

// manual has the program write its manual pages and completions.
func (r *releaseOf) manual() (string, error) {
	program := filepath.Join(r.tmp, "lagan")
	cmd := exec.Command("go", "build", "-o", program, "./cmd/lagan")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return "", err
	}
	dir := filepath.Join(r.tmp, "manual")
	cmd = exec.Command(program, "man", dir)
	cmd.Stderr = os.Stderr
	return dir, cmd.Run()
}

// manualArchive packs the manual pages and completions for systems without a package.
func (r *releaseOf) manualArchive(dir string) error {
	files, err := filesBelow(dir)
	if err != nil {
		return err
	}
	t := tree{}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		t[filepath.ToSlash(rel)] = entry{mode: 0o644, content: b}
	}
	plain, err := t.tar("", r.at)
	if err != nil {
		return err
	}
	z, err := packed(plain)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, fmt.Sprintf("lagan_%s_manual.tar.gz", r.version)), z, 0o644)
}

// checksums writes SHA256SUMS, as sha256sum -c takes it.
func (r *releaseOf) checksums() error {
	list, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, e := range list {
		sum, _, err := sumFile(filepath.Join(r.out, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s  %s\n", sum, e.Name())
	}
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), b.Bytes(), 0o644)
}

func sumFile(path string) (string, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	return hex.EncodeToString(sum.Sum(nil)), n, err
}

func sumBytes(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// packed is b in gzip, without a time or a name.
func packed(b []byte) ([]byte, error) {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(b); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// filesBelow returns the files below a folder, in order.
func filesBelow(dir string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, path)
		}
		return err
	})
	slices.Sort(out)
	return out, err
}
