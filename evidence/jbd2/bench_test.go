package jbd2

import (
	"bytes"
	"testing"

	"lagan/evidence"
)

// BenchmarkRead reads a full log of 32 MiB, each of whose copies has a checksum.
func BenchmarkRead(b *testing.B) {
	const blocks = 32 << 10
	l := newBuilder(blocks, 1, 7, 0, IncompatCsumV3|Incompat64Bit)
	var ws []write
	for i := range 50 {
		ws = append(ws, write{uint64(i), fill(byte(i))})
	}
	for seq := uint32(7); l.next+60 < blocks; seq++ {
		for i := range ws {
			ws[i].block = uint64(seq)*31 + uint64(i)*7
		}
		l.write(seq, ws...)
		l.commit(seq, int64(seq))
	}
	b.SetBytes(int64(len(l.b)))
	b.ReportAllocs()
	for b.Loop() {
		log, err := Read(bytes.NewReader(l.b), int64(len(l.b)), evidence.Options{})
		if err != nil || log.Note != "" || len(log.Transactions) < 600 {
			b.Fatal(log, err)
		}
	}
}
