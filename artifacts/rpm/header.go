// Package rpm reads the packages out of an rpm database: the headers that every
// one of its formats keeps, and the two formats that are files of their own:
// Berkeley DB's hash (Packages: rpm until 4.16, Amazon Linux 2, CentOS 7) and ndb
// (Packages.db: SUSE). The third, SQLite (rpmdb.sqlite), is read by the package
// for that, and its blobs are headers.
//
// It follows rpm's lib/header.c, lib/backend/ndb/rpmpkg.c and Berkeley DB's
// dbinc/db_page.h. Input is hostile: every offset is checked, a header is bounded
// and no chain of pages is longer than the file.
package rpm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"lagan/evidence"
)

// Package is one installed package.
type Package struct {
	Name, Version, Release, Arch, Vendor, Packager, Summary, SourceRPM string
	Epoch                                                              int64 // -1: none
	Installed                                                          time.Time
	Built                                                              time.Time
	Signature                                                          bool // the header carries one
	Offset                                                             int64
	header                                                             []byte // as the database keeps it
}

// NEVRA is NAME-[EPOCH:]VERSION-RELEASE.ARCH, as rpm -qa prints it with an epoch.
func (p *Package) NEVRA() string {
	s := p.Name + "-" + p.EVR()
	if p.Arch != "" {
		s += "." + p.Arch
	}
	return s
}

// EVR is [EPOCH:]VERSION-RELEASE.
func (p *Package) EVR() string {
	s := p.Version + "-" + p.Release
	if p.Epoch > 0 {
		s = fmt.Sprintf("%d:%s", p.Epoch, s)
	}
	return s
}

// Tags (include/rpm/rpmtag.h) and types (lib/header.h) of a header's entries.
const (
	tagSigMD5      = 261
	tagRSAHeader   = 268
	tagName        = 1000
	tagVersion     = 1001
	tagRelease     = 1002
	tagEpoch       = 1003
	tagSummary     = 1004
	tagBuildTime   = 1006
	tagInstallTime = 1008
	tagVendor      = 1011
	tagPackager    = 1015
	tagArch        = 1022
	tagSourceRPM   = 1044

	typeInt32  = 4
	typeString = 6
	typeI18N   = 9

	// lib/header.c: headerVerifyInfo and its limits.
	maxIndex  = 0x0000ffff
	maxHeader = 256 << 20
	entrySize = 16
)

// ParseHeader reads a header as databases keep it: the number of entries, the
// length of the data, the entries, the data, all in network order.
func ParseHeader(b []byte) (Package, error) {
	p := Package{Epoch: -1, header: b}
	err := eachEntry(b, func(tag, typ, _ uint32, data []byte) { p.entry(tag, typ, data) })
	if err == nil && p.Name == "" {
		err = fmt.Errorf("rpm header without a name: %w", evidence.ErrCorrupt)
	}
	return p, err
}

// eachEntry calls fn with each entry of a header and the data from its own on.
func eachEntry(b []byte, fn func(tag, typ, count uint32, data []byte)) error {
	if len(b) < 8 {
		return fmt.Errorf("rpm header of %d bytes: %w", len(b), evidence.ErrCorrupt)
	}
	be := binary.BigEndian
	entries, size := be.Uint32(b), be.Uint32(b[4:])
	if entries == 0 || entries > maxIndex || size > maxHeader || uint64(len(b)) < 8+uint64(entries)*entrySize+uint64(size) {
		return fmt.Errorf("rpm header of %d entries and %d bytes in %d: %w", entries, size, len(b), evidence.ErrCorrupt)
	}
	index := b[8 : 8+entries*entrySize]
	data := b[8+entries*entrySize:][:size]
	for ; len(index) > 0; index = index[entrySize:] {
		if off := be.Uint32(index[8:]); off < size {
			fn(be.Uint32(index), be.Uint32(index[4:]), be.Uint32(index[12:]), data[off:])
		}
	}
	return nil
}

func (p *Package) entry(tag, typ uint32, data []byte) {
	if tag == tagSigMD5 || tag == tagRSAHeader {
		p.Signature = p.Signature || tag == tagRSAHeader
		return
	}
	texts := map[uint32]*string{
		tagName: &p.Name, tagVersion: &p.Version, tagRelease: &p.Release, tagArch: &p.Arch, tagVendor: &p.Vendor, tagPackager: &p.Packager, tagSummary: &p.Summary, tagSourceRPM: &p.SourceRPM,
	}
	if to := texts[tag]; to != nil && (typ == typeString || typ == typeI18N) {
		if end := bytes.IndexByte(data, 0); end >= 0 {
			*to = string(data[:end])
		}
		return
	}
	if typ != typeInt32 || len(data) < 4 {
		return
	}
	n := binary.BigEndian.Uint32(data)
	switch tag {
	case tagEpoch:
		p.Epoch = int64(n)
	case tagInstallTime:
		p.Installed = time.Unix(int64(n), 0).UTC()
	case tagBuildTime:
		p.Built = time.Unix(int64(n), 0).UTC()
	}
}
