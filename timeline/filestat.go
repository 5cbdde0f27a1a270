package timeline

import "encoding/binary"

// FileStat is what an inode says of itself, apart from its times.
type FileStat struct {
	Type      FileType
	Perm      uint16 // as File takes it
	Allocated bool
	Inode     uint64
	Size      int64
	UID, GID  uint32
	Links     uint32
}

// statMask are the fields that Stat sets.
var statMask = func() (s fieldSet) {
	for _, id := range []uint8{
		uint8(FieldIsAllocated), uint8(FieldFileEntryType), uint8(FieldMode), uint8(FieldModeAsString), uint8(FieldInode),
		uint8(FieldFileSize), uint8(FieldOwnerIdentifier), uint8(FieldGroupIdentifier), uint8(FieldNumberOfLinks),
	} {
		s.add(id)
	}
	return s
}()

// Stat sets what a file's record has from its inode: is_allocated, what File
// sets, inode, file_size, owner_identifier, group_identifier and
// number_of_links. The record is the same as if each was set by the method for
// one field; a disk has millions of them, and this way takes half the time.
func (r *Record) Stat(s *FileStat) {
	if r.mask.intersects(&statMask) || int(s.Type) >= len(fileTypes) || s.Type == UnknownFile || s.Inode >= 1<<62 {
		r.statByField(s)
		return
	}
	r.mask.union(&statMask)
	b := append(r.body, byte(FieldIsAllocated), 0)
	if s.Allocated {
		b[len(b)-1] = 1
	}
	if s.Type != r.modeOf || s.Perm != r.modePerm || len(r.mode) == 0 {
		r.setMode(s.Type, s.Perm)
	}
	b = append(b, r.mode...)
	b = binary.AppendUvarint(append(b, byte(FieldInode)), s.Inode<<2|formNumber)
	b = binary.AppendVarint(append(b, byte(FieldFileSize)), s.Size)
	b = binary.AppendVarint(append(b, byte(FieldOwnerIdentifier)), int64(s.UID))
	b = binary.AppendVarint(append(b, byte(FieldGroupIdentifier)), int64(s.GID))
	r.body = binary.AppendVarint(append(b, byte(FieldNumberOfLinks)), int64(s.Links))
	r.stat, r.hasStat = *s, true
}

// setMode keeps how a type and permissions look in a record: most files have
// those of the one before.
func (r *Record) setMode(t FileType, perm uint16) {
	r.modeOf, r.modePerm = t, perm
	name := fileTypes[t].name
	b := append(r.mode[:0], byte(FieldFileEntryType), byte(len(name)<<2|formPlain))
	b = append(b, name...)
	b = binary.AppendVarint(append(b, byte(FieldMode)), int64(perm&0o7777))
	b = append(b, byte(FieldModeAsString), 10<<2|formPlain)
	r.mode = appendMode(b, t, perm)
}

func (r *Record) statByField(s *FileStat) {
	r.Bool(FieldIsAllocated, s.Allocated)
	r.File(s.Type, s.Perm)
	r.Uint(FieldInode, s.Inode)
	r.Int(FieldFileSize, s.Size)
	r.Int(FieldOwnerIdentifier, int64(s.UID))
	r.Int(FieldGroupIdentifier, int64(s.GID))
	r.Int(FieldNumberOfLinks, int64(s.Links))
}
