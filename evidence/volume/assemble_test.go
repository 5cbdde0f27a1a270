package volume

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// mirrorOf puts a RAID 1 superblock of version 1.0 behind data.
func mirrorOf(data []byte, role uint16) []byte {
	b := append(bytes.Clone(data), make([]byte, 8192)...)
	h, le := b[len(data):], binary.LittleEndian
	le.PutUint32(h, 0xa92b4efc)
	le.PutUint32(h[4:], 1)
	copy(h[32:], "node:0")
	le.PutUint32(h[72:], 1)
	le.PutUint64(h[80:], uint64(len(data)/512))
	le.PutUint32(h[92:], 2)
	le.PutUint64(h[136:], uint64(len(data)/512))
	le.PutUint64(h[144:], uint64(len(data)/512))
	le.PutUint32(h[160:], uint32(role))
	le.PutUint32(h[220:], 2)
	le.PutUint16(h[258:], 1)
	var sum uint64
	for at := 0; at < 260; at += 4 {
		sum += uint64(le.Uint32(h[at:]))
	}
	le.PutUint32(h[216:], uint32(sum)+uint32(sum>>32))
	return b
}

func TestAssemble(t *testing.T) {
	plain := make([]byte, 1<<20)
	putExt(plain, 0)
	parted := craftGPT(512, 2048, part{linuxType, 40, 99, "root"})
	for _, c := range []struct {
		name    string
		disks   [][]byte
		want    string
		members string
	}{
		{"nothing", [][]byte{plain}, "", "[]"},
		{"mirror", [][]byte{mirrorOf(plain, 0), plain, mirrorOf(plain, 1)}, "md raid1 node:0 1048576 ext2", "[0 2]"},
		{"mirror with partitions", [][]byte{mirrorOf(parted, 1)}, "gpt 0fc63daf-8483-4772-8e79-3d69d8477de4 root 30720 ", "[0]"},
	} {
		var vols []Volume
		for _, d := range c.disks {
			vols = append(vols, Volume{ReaderAt: bytes.NewReader(d), Size: int64(len(d)), Scheme: SchemeNone})
		}
		all := Assemble(vols, func(err error) { t.Errorf("%s: %v", c.name, err) })
		made, members := all.Made, all.Members
		var out []string
		for _, v := range made {
			out = append(out, fmt.Sprintf("%s %s %s %d %s", v.Scheme, v.Type, v.Name, v.Size, Identify(v.ReaderAt)))
		}
		if got := strings.Join(out, "\n"); got != c.want || fmt.Sprint(members) != c.members {
			t.Errorf("%s: got %q of %v", c.name, got, members)
		}
	}
}
