package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"lagan/artifacts/daemon"
	"lagan/artifacts/lines"
	"lagan/artifacts/rpm"
	"lagan/checkpoint"
	"lagan/evidence/image"
	"lagan/evidence/memfs"
	"lagan/hashset"
	"lagan/internal/sqlite"
	"lagan/layers"
)

// packers make the forms that a disk comes packed in.
var packers = [][]string{{"gzip", "-c"}, {"zstd", "-q", "-c"}, {"xz", "-c", "-0"}, {"xz", "-c", "-0", "--format=lzma"}, {"bzip2", "-c"}, {"lz4", "-q", "-c"}}

func packedDisks() ([]seed, error) {
	b, err := small()
	if err != nil {
		return nil, err
	}
	var seeds []seed
	for _, argv := range packers {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Stdin = bytes.NewReader(b)
		out, err := cmd.Output()
		if err != nil {
			return nil, missing(argv[0], err)
		}
		seeds = append(seeds, newSeed(strings.Join(argv, " "), out))
	}
	return seeds, nil
}

// maxUnpacked bounds what a damaged packed disk may unpack to.
const maxUnpacked = 64 << 20

// readPacked reads a mutant as an image of its own, which has to be a file.
func readPacked(m *mutant, told func(error)) {
	f, err := os.CreateTemp("", "mutant-")
	if err != nil {
		told(err)
		return
	}
	defer os.Remove(f.Name())
	_, err = f.Write(m.bytes())
	if err = errors.Join(err, f.Close()); err != nil {
		told(err)
		return
	}
	d, err := image.Open(background(), f.Name(), image.Options{MaxSize: maxUnpacked, Warn: told})
	if err != nil {
		told(err)
		return
	}
	defer d.Close()
	container(func(*mutant, func(error)) (disk, error) { return d, nil })(m, told)
}

// sparseTars are what GNU tar writes of files with holes and attributes.
func sparseTars() ([]seed, error) {
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o700); err != nil {
		return nil, err
	}
	f, err := os.Create(filepath.Join(dir, "d", strings.Repeat("n", 150)))
	if err != nil {
		return nil, err
	}
	for i := range int64(9) {
		if _, err := f.WriteAt([]byte("data"), i<<20); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(f.Close(), os.Link(f.Name(), filepath.Join(dir, "d", "hard")), os.Symlink("/etc/passwd", filepath.Join(dir, "d", "soft"))); err != nil {
		return nil, err
	}
	var seeds []seed
	for _, form := range [][]string{{"--format=gnu"}, {"--format=posix", "--sparse-version=0.0"}, {"--format=posix", "--sparse-version=0.1"}, {"--format=posix", "--sparse-version=1.0"}} {
		out, err := exec.Command("tar", append([]string{"-C", dir, "--sparse", "-c"}, append(form, "d")...)...).Output()
		if err != nil {
			return nil, missing("tar", err)
		}
		seeds = append(seeds, newSeed(strings.Join(form, " "), out))
	}
	more, err := layerTars()
	return append(seeds, more...), err
}

// layerBlobs are layers as registries give them out.
func layerBlobs() ([]seed, error) {
	tars, err := layerTars()
	if err != nil {
		return nil, err
	}
	whole := tars[0].data
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	if _, err := w.Write(whole); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	z, err := zstd.NewWriter(nil)
	if err != nil {
		return nil, err
	}
	return []seed{newSeed("gzip", gz.Bytes()), newSeed("zstd", z.EncodeAll(whole, nil)), tars[1]}, nil
}

func readBlob(m *mutant, told func(error)) {
	_, err := layers.ReadBlob(io.NewSectionReader(m, 0, m.Size()), layers.Digest{}, -1, func(r io.Reader) error {
		_, err := layers.CompareTar(r, memfs.New(), layers.CompareOptions{})
		return err
	})
	told(err)
}

// maxSplit leaves out the tar-splits of large layers: a mutant is read whole.
const maxSplit = 1 << 20

// tarSplits are those that Podman kept, unpacked.
func tarSplits() ([]seed, error) {
	t, err := podmanTree()
	if err != nil {
		return nil, err
	}
	var seeds []seed
	for _, p := range t.files {
		if !strings.HasSuffix(p, ".tar-split.gz") {
			continue
		}
		r, done := lines.Unpack(bytes.NewReader(t.data[p]))
		b, err := io.ReadAll(io.LimitReader(r, maxSplit+1))
		done()
		if err == nil && len(b) > 0 && len(b) <= maxSplit {
			seeds = append(seeds, newSeed(p, b))
		}
	}
	if len(seeds) == 0 {
		return nil, errors.New("the fixture has no tar-split")
	}
	return seeds, nil
}

func readSplit(m *mutant, told func(error)) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.NoCompression)
	if err != nil {
		told(err)
		return
	}
	if _, err := w.Write(m.bytes()); err != nil {
		told(err)
	}
	told(w.Close())
	_, err = layers.CompareSplit(&b, memfs.New(), layers.Digest{}, layers.CompareOptions{})
	told(err)
}

func readCheckpoint(m *mutant, told func(error)) {
	c, err := checkpoint.Read(func() (io.Reader, func(), error) {
		return io.NewSectionReader(m, 0, m.Size()), func() {}, nil
	})
	if told(err); c != nil {
		for _, p := range c.Problems {
			told(p)
		}
	}
}

// rpmFiles are a database of each kind that rpm has had.
func rpmFiles() ([]seed, error) {
	seeds, err := packed("artifacts/rpm/testdata/*.gz")()
	if err != nil {
		return nil, err
	}
	for _, s := range seeds {
		db, err := sqlite.Open(bytes.NewReader(s.data), nil, nil, func(error) {})
		if err != nil {
			continue // the Berkeley DB
		}
		var blobs [][]byte
		for row, err := range db.Rows("Packages") {
			if err != nil {
				return nil, err
			}
			for _, v := range row.Values() {
				if b, ok := v.([]byte); ok {
					blobs = append(blobs, b)
				}
			}
		}
		return append(seeds, newSeed("ndb", ndb(blobs))), nil
	}
	return nil, errors.New("no SQLite database among the fixtures of rpm")
}

// ndb writes headers as rpm's own database does: lib/backend/ndb/rpmpkg.c.
func ndb(blobs [][]byte) []byte {
	le := binary.LittleEndian
	const page, head, slot, block = 4096, 32, 16, 16
	b := make([]byte, page)
	for i, v := range []uint32{'R' | 'p'<<8 | 'm'<<16 | 'P'<<24, 0, 7, 1, uint32(len(blobs) + 1)} {
		le.PutUint32(b[4*i:], v)
	}
	for at := head; at < page; at += slot {
		copy(b[at:], "Slot")
	}
	for i, blob := range blobs {
		size := (16 + len(blob) + 12 + block - 1) / block * block
		s := b[head+i*slot:]
		le.PutUint32(s[4:], uint32(i+1))
		le.PutUint32(s[8:], uint32(len(b)/block))
		le.PutUint32(s[12:], uint32(size/block))
		at := len(b)
		b = append(b, make([]byte, size)...)
		copy(b[at:], "BlbS")
		for k, v := range []uint32{uint32(i + 1), 7, uint32(len(blob))} {
			le.PutUint32(b[at+4+4*k:], v)
		}
		copy(b[at+16:], blob)
	}
	return b
}

func readRPM(m *mutant, told func(error)) {
	all, err := rpm.Packages(m, m.Size())
	if err != nil {
		told(err)
		return
	}
	drain(all, told)
}

// hashLists are lists of hashes in the forms of the tools that make them.
func hashLists() ([]seed, error) {
	var plain, deep strings.Builder
	deep.WriteString("%%%% HASHDEEP-1.0\n%%%% size,md5,sha256,filename\n## x\n")
	for i := range 50 {
		fmt.Fprintf(&plain, "%064x  name %d\nMD5 (n) = %032x\n%040x\n", i, i, i, i)
		fmt.Fprintf(&deep, "%d,%032x,%064x,/n,%d\n", i, i, i, i)
	}
	nsrl := `"SHA-1","MD5","CRC32","FileName","FileSize","ProductCode","OpSystemCode","SpecialCode"` + "\n" +
		`"0000001FFEF4BE312BAB534ECA7AEAA3E4684D85","344428FA4BA313712E4CA9B16D089AC4","7516A25F",".text._ZNSt14overflow_errorC1ERKSs",33,219181,"362",""` + "\n"
	db, err := sqliteFiles()
	return append(db, newSeed("plain", []byte(plain.String())), newSeed("hashdeep", []byte(deep.String())), newSeed("nsrl", []byte(nsrl))), err
}

func readHashes(m *mutant, told func(error)) {
	_, err := hashset.Read("list", m, told)
	told(err)
}

// daemonEvents understands each line of a daemon's log.
func daemonEvents(r io.Reader) iter.Seq2[daemon.Event, error] {
	return func(yield func(daemon.Event, error) bool) {
		for l, err := range lines.Read(r) {
			e, _ := daemon.Understand(string(l.Text))
			if !yield(e, err) {
				return
			}
		}
	}
}
