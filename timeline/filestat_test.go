package timeline

import (
	"bytes"
	"testing"
)

// TestStat compares what Stat makes with what the methods for single fields
// make, in the record and in a bodyfile's line.
func TestStat(t *testing.T) {
	var shared Record
	shared.Reset(Unknown, nil)
	shared.String(FieldMD5Hash, "d41d8cd98f00b204e9800998ecf8427e")
	withHash := shared.Common()
	shared.Reset(Unknown, nil)
	shared.String(FieldContainerName, "a|name")
	named := shared.Common()
	extra := map[string]func(*Record){
		"": func(*Record) {}, "link": func(r *Record) { r.String(FieldSymbolicLinkTarget, "a|b") },
		"hash": func(r *Record) { r.String(FieldMD5Hash, "0123") }, "inode before": nil,
	}
	var fast, slow Record // reused, as they are
	var encFast, encSlow bodyfile
	for _, common := range []*Common{nil, withHash, named} {
		for what, add := range extra {
			for _, path := range []string{"/a", "/a|b", "/a\\b", "/\xff", "/\u00e4", "/", "/with \"quotes\""} {
				for typ := UnknownFile; typ <= Whiteout+1; typ++ {
					for _, perm := range []uint16{0, 0o644, 0o755, 0o7777, 0o4110} {
						s := FileStat{Type: typ, Perm: perm, Allocated: perm != 0, Inode: uint64(perm) << 40, Size: -int64(perm), UID: 1<<32 - 1, GID: uint32(perm), Links: 3}
						fill := func(r *Record, stat func(*FileStat)) {
							r.Reset(FSStat, common)
							if what == "inode before" {
								r.Uint(FieldInode, 99)
							}
							r.PathBytes("NODE:", []byte(path))
							stat(&s)
							if add != nil {
								add(r)
							}
							for d := Modified; d <= Created; d++ {
								r.Unix(d, int64(1e9+int(d)/2), 5)
							}
						}
						fill(&fast, fast.Stat)
						fill(&slow, slow.statByField)
						slow.hasPath = false
						if !bytes.Equal(fast.body, slow.body) || fast.mask != slow.mask {
							t.Fatalf("%s, %q, type %d, %o: record %x, want %x", what, path, typ, perm, fast.body, slow.body)
						}
						got, err1 := encFast.record(nil, &fast)
						want, err2 := encSlow.record(nil, &slow)
						if err1 != nil || err2 != nil || !bytes.Equal(got, want) {
							t.Fatalf("%s, %q, type %d, %o: line %q, want %q (%v, %v)", what, path, typ, perm, got, want, err1, err2)
						}
					}
				}
			}
		}
	}
}
