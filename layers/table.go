package layers

import (
	"archive/tar"
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"lagan/evidence"
)

// tableEntry is a file of a layer in its table of contents: FileMetadata in
// pkg/chunked/toc of containers/storage, which took it over from the TOC of
// stargz-snapshotter's docs/estargz.md.
type tableEntry struct {
	Type     string            `json:"type"`
	Name     string            `json:"name"`
	Linkname string            `json:"linkName"`
	Mode     int64             `json:"mode"`
	Size     int64             `json:"size"`
	UID      int               `json:"uid"`
	GID      int               `json:"gid"`
	ModTime  time.Time         `json:"modtime"` // zero: none is set; eStargz leaves out the epoch
	Devmajor int64             `json:"devMajor"`
	Devminor int64             `json:"devMinor"`
	Xattrs   map[string][]byte `json:"xattrs"`
	Digest   string            `json:"digest"`
}

// tableChunk is the type of what continues a file's entry and adds no file.
const tableChunk = "chunk"

// ofStargz are files that eStargz adds for its own reader, which containers/storage
// doesn't write (to zstd:chunked they are files as others): PrefetchLandmark, NoPrefetchLandmark, TOCTarName of stargz-snapshotter's estargz.
var ofStargz = []string{".prefetch.landmark", ".no.prefetch.landmark", "stargz.index.json"}

var tableTypes = map[string]byte{
	"reg": tar.TypeReg, "hardlink": tar.TypeLink, "char": tar.TypeChar, "block": tar.TypeBlock,
	"dir": tar.TypeDir, "fifo": tar.TypeFifo, "symlink": tar.TypeSymlink,
}

// maxTable bounds a table: containers/storage takes none of more than 50 MiB.
const maxTable = 64 << 20

// CompareTable compares the folder that a layer was pulled into file by file,
// from a blob that is zstd:chunked or eStargz, with the blob's table of contents,
// as CompareTar does; of each content the table has the digest. Nothing that is
// kept beside the folder proves the table: the image's manifest has the digest of
// its packed form alone.
//
// A table that can't be read whole is an error, evidence.ErrCorrupt or
// evidence.ErrUnsupported; the Differences are nil then.
func CompareTable(table io.Reader, folder evidence.FS, o CompareOptions) (*Comparison, error) {
	c := newComparer(folder, o)
	c.tar = newTar(TarOptions{UserXattr: o.UserXattr})
	bounded := &io.LimitedReader{R: table, N: maxTable}
	d := json.NewDecoder(bufio.NewReaderSize(bounded, 1<<16))
	err := c.readTable(d)
	switch {
	case o.Context != nil && o.Context.Err() != nil:
		return &Comparison{}, o.Context.Err()
	case err != nil && bounded.N <= 0:
		return &Comparison{}, fmt.Errorf("table of contents of more than %d bytes: %w", maxTable, evidence.ErrUnsupported)
	case errors.Is(err, evidence.ErrUnsupported):
		return &Comparison{}, err
	case err != nil:
		return &Comparison{}, fmt.Errorf("table of contents at offset %#x: %w: %w", d.InputOffset(), err, evidence.ErrCorrupt)
	}
	out, err := c.finish(c.tar)
	if o.Lost && c.exact == [len(c.exact)]int{} {
		out.Differences = slices.DeleteFunc(out.Differences, func(d Difference) bool {
			return d.Err == nil && d.Field == ChangedOwner && d.Got == "0:0"
		})
	}
	return out, err
}

// readTable reads {"version": 1, "entries": [...]}.
func (c *comparer) readTable(d *json.Decoder) error {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.Join(errors.New("no object"), err)
	}
	found := false
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		if key != "entries" {
			var skipped json.RawMessage
			if err := d.Decode(&skipped); err != nil {
				return err
			}
			continue
		}
		if found {
			return errors.New("two lists of entries")
		}
		found = true
		if err := c.readEntries(d); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return err
	}
	if !found {
		return errors.New("no entries")
	}
	return nil
}

func (c *comparer) readEntries(d *json.Decoder) error {
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return errors.Join(errors.New("no list of entries"), err)
	}
	for d.More() {
		var e tableEntry
		if err := d.Decode(&e); err != nil {
			return err
		}
		if e.Type == tableChunk || slices.Contains(ofStargz, e.Name) && !c.atRoot(e.Name) {
			continue
		}
		if c.tar.entries++; c.tar.entries > maxTarEntries {
			return fmt.Errorf("more than %d entries: %w", maxTarEntries, evidence.ErrUnsupported)
		}
		if err := c.tableEntry(&e); err != nil {
			return fmt.Errorf("entry %q: %w", e.Name, err)
		}
	}
	_, err := d.Token()
	return err
}

func (c *comparer) atRoot(name string) bool {
	_, there := c.list("", c.folder.Root())[name]
	return there
}

// tableEntry adds an entry to the layer's tree and compares the content.
func (c *comparer) tableEntry(e *tableEntry) error {
	typ, ok := tableTypes[e.Type]
	if !ok {
		return fmt.Errorf("type %q: %w", e.Type, evidence.ErrUnsupported)
	}
	h := &tar.Header{Typeflag: typ, Name: e.Name, Linkname: e.Linkname, Mode: e.Mode, Size: e.Size, Uid: e.UID, Gid: e.GID,
		ModTime: e.ModTime, Devmajor: e.Devmajor, Devminor: e.Devminor}
	for name, value := range e.Xattrs {
		if h.PAXRecords == nil {
			h.PAXRecords = make(map[string]string)
		}
		h.PAXRecords[paxXattr+name] = string(value)
	}
	ino, err := c.tar.add(h, 0, 0)
	if err != nil || ino == 0 || typ != tar.TypeReg || e.Size == 0 {
		return err
	}
	if c.tar.nodes[ino].info.Type != evidence.TypeFile {
		return nil // a whiteout
	}
	return c.digestOf(ino, e.Digest)
}

// digestOf compares the digest of what the folder has with the table's.
func (c *comparer) digestOf(ino evidence.Ino, digest string) error {
	if err := c.o.Context.Err(); err != nil {
		return err
	}
	want, err := ParseDigest(digest)
	if err != nil {
		return err
	}
	f, err := c.open(ino)
	if !c.sized(ino, f, err) {
		return nil
	}
	got, _, err := want.Sum(f)
	switch {
	case err != nil:
		c.content[ino] = &content{err: err}
	case got != want:
		c.content[ino] = &content{want: want.String(), got: got.String()}
	}
	return nil
}
