package ext4

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"slices"
	"testing"

	"lagan/evidence"
)

// movedJournal makes of a crash what it would be with its journal on a device of its own.
func movedJournal(t *testing.T, image []byte) (fs, journal []byte) {
	t.Helper()
	plain, err := open(bytes.NewReader(image), int64(len(image)), evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := plain.journalInode()
	if err != nil {
		t.Fatal(err)
	}
	log, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	be, bs := binary.BigEndian, plain.sb.blockSize()
	uuid := []byte("a journal's UUID")
	// The log moves up behind the block with the ext superblock.
	shift := 1
	if bs == superOffset {
		shift = 2
	}
	for _, field := range []int{16, 20, 28} { // s_maxlen, s_first, s_start
		be.PutUint32(log[field:], be.Uint32(log[field:])+uint32(shift))
	}
	if be.Uint32(log[40:])&0x18 != 0 { // checksums of version 2 or 3
		clear(log[0xfc:0x100])
		be.PutUint32(log[0xfc:], crc32c(^uint32(0), log[:1024]))
	}
	journal = append(make([]byte, shift*bs), log...)
	s := journal[superOffset:]
	le.PutUint16(s[superMagicAt:], superMagic)
	le.PutUint32(s[0x18:], uint32(plain.sb.blockBits-10))
	le.PutUint32(s[0x60:], incompatJournalDev)
	copy(s[0x68:], uuid)

	fs = slices.Clone(image)
	s = fs[superOffset:]
	le.PutUint32(s[0xe0:], 0) // s_journal_inum
	copy(s[0xd0:], uuid)
	le.PutUint32(s[superCsumAt:], crc32c(^uint32(0), s[:superCsumAt]))
	return fs, journal
}

// TestExternalJournal replays journals from a device of their own, whatever
// other devices there are.
func TestExternalJournal(t *testing.T) {
	for _, name := range []string{"ext3", "ext4-1k", "ext4-data"} {
		t.Run(name, func(t *testing.T) {
			image, journal := movedJournal(t, crashFile(t, name+".img"))
			other := slices.Clone(journal)
			other[superOffset+0x68]++
			device := func(b []byte) evidence.Device {
				return evidence.Device{ReaderAt: bytes.NewReader(b), Size: int64(len(b))}
			}
			var w warnings
			o := w.options()
			o.Devices = []evidence.Device{device(image[:100]), device(other), device(journal)}
			fs, err := Open(bytes.NewReader(image), int64(len(image)), o)
			if err != nil {
				t.Fatal(err)
			}
			if d := fs.Describe(); d.Journal.State != evidence.JournalReplayed || !slices.Equal(d.Devices, []int{2}) || len(w.told()) > 0 {
				t.Errorf("%+v, devices %v, warnings %q", d.Journal, d.Devices, w.told())
			}
			var want map[string]recovered
			if err := json.Unmarshal(crashFile(t, name+".json"), &want); err != nil {
				t.Fatal(err)
			}
			compareRecovered(t, fs, want)

			o.Devices = o.Devices[:2]
			fs, err = Open(bytes.NewReader(image), int64(len(image)), o)
			if err != nil {
				t.Fatal(err)
			}
			if j := fs.Describe().Journal; j.State != evidence.JournalExternal || len(w.told()) != 1 {
				t.Errorf("without its device: %+v, warnings %q", j, w.told())
			}
		})
	}
}
