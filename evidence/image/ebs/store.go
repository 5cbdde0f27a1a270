package ebs

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// store keeps fetched blocks in a sparse file, each at its place on the volume,
// and in a second one what is known of them: a head, and for each block its state
// and the SHA-256 that the service gave. A block is written before its record is; what
// an earlier run or a crash left is believed only where the sum is right.
type store struct {
	data, sums  *os.File
	temporary   []string // to be removed at the end
	block, size int64    // of the volume; 0: not known yet
}

const (
	storeMagic = "lagan ebs blocks 1\n"
	headSize   = 64 // the magic, bytes of a block, bytes of the volume
	recordSize = 1 + sha256.Size
)

// newStore makes the files, or opens those of an earlier run.
func newStore(at Location, o Options) (*store, error) {
	s := &store{}
	var err error
	if o.CacheDir == "" {
		if s.data, err = s.make(o.TempDir); err == nil {
			s.sums, err = s.make(o.TempDir)
		}
	} else {
		base := filepath.Join(o.CacheDir, "lagan-"+at.Snapshot) // whose name is letters and digits
		if s.data, err = openOwn(base + ".blocks"); err == nil {
			s.sums, err = openOwn(base + ".sums")
		}
	}
	if err == nil && o.CacheDir != "" {
		err = s.readHead()
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("making the file for fetched blocks: %w", err)
	}
	return s, nil
}

// make makes a file without a name, or with one until close where the system
// lets no open file go.
func (s *store) make(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "lagan-ebs-*")
	if err != nil {
		return nil, err
	}
	if os.Remove(f.Name()) != nil {
		s.temporary = append(s.temporary, f.Name())
	}
	return f, nil
}

// openOwn opens a file of the cache: a regular one that nobody else may write.
func openOwn(path string) (*os.File, error) {
	if st, err := os.Lstat(path); err == nil && (!st.Mode().IsRegular() || st.Mode().Perm()&0o022 != 0) {
		return nil, fmt.Errorf("%s is not a file that its owner alone may write", path)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}

// readHead takes the sizes that an earlier run wrote. A head that isn't whole
// is as none.
func (s *store) readHead() error {
	head := make([]byte, headSize)
	if _, err := s.sums.ReadAt(head, 0); err == io.EOF {
		return nil
	} else if err != nil {
		return err
	}
	rest, ok := bytes.CutPrefix(head, []byte(storeMagic))
	block, size := int64(binary.LittleEndian.Uint64(rest)), int64(binary.LittleEndian.Uint64(rest[8:]))
	if !ok || block < minBlock || block > maxBlock || block&(block-1) != 0 || size <= 0 || size > maxVolume {
		return s.sums.Truncate(0)
	}
	s.block, s.size = block, size
	return nil
}

// measured writes the sizes. Records of a head that was damaged are gone.
func (s *store) measured(block, size int64) error {
	s.block, s.size = block, size
	head := append(make([]byte, 0, headSize), storeMagic...)
	head = binary.LittleEndian.AppendUint64(head, uint64(block))
	head = binary.LittleEndian.AppendUint64(head, uint64(size))
	_, err := s.sums.WriteAt(head[:headSize], 0)
	return errors.Join(err, s.data.Truncate(size))
}

// states returns what is known of blocks; nothing is known past the end of the file.
func (s *store) states(first int64, n int) ([]state, error) {
	b := make([]byte, n*recordSize)
	if _, err := s.sums.ReadAt(b, headSize+first*recordSize); err != nil && err != io.EOF {
		return nil, fmt.Errorf("reading what is known of fetched blocks: %w", err)
	}
	out := make([]state, n)
	for i := range out {
		if st := state(b[i*recordSize]); st == absent || st == kept {
			out[i] = st
		}
	}
	return out, nil
}

// absent notes which of the blocks don't exist, all others as they were.
func (s *store) absent(first int64, states []state) error {
	b := make([]byte, len(states)*recordSize)
	if _, err := s.sums.ReadAt(b, headSize+first*recordSize); err != nil && err != io.EOF {
		return err
	}
	for i, st := range states {
		if st == absent {
			b[i*recordSize] = byte(absent)
		}
	}
	_, err := s.sums.WriteAt(b, headSize+first*recordSize)
	return err
}

// length is how many bytes of a block lie on the volume.
func length(i, block, size int64) int64 { return min(block, size-i*block) }

// put stores a block.
func (s *store) put(i, block, size int64, data, sum []byte) error {
	if _, err := s.data.WriteAt(data[:length(i, block, size)], i*block); err != nil {
		return fmt.Errorf("keeping a block: %w", err)
	}
	record := append([]byte{byte(kept)}, sum...)
	if _, err := s.sums.WriteAt(record[:recordSize], headSize+i*recordSize); err != nil {
		return fmt.Errorf("keeping a block's sum: %w", err)
	}
	return nil
}

// good says whether a block is as it was when it was fetched. Of the last one, what
// lies past the volume's end is zeros or it is fetched again.
func (s *store) good(i, block, size int64) (bool, error) {
	record := make([]byte, recordSize)
	if _, err := s.sums.ReadAt(record, headSize+i*recordSize); err != nil {
		return false, err
	}
	data := make([]byte, block)
	if _, err := s.data.ReadAt(data[:length(i, block, size)], i*block); err != nil && err != io.EOF {
		return false, err
	}
	sum := sha256.Sum256(data)
	return bytes.Equal(sum[:], record[1:]), nil
}

func (s *store) close() error {
	var errs []error
	for _, f := range []*os.File{s.data, s.sums} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	for _, name := range s.temporary {
		errs = append(errs, os.Remove(name))
	}
	s.data, s.sums, s.temporary = nil, nil, nil
	return errors.Join(errs...)
}
