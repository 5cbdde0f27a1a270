package jbd2

import "slices"

// Kept is a transaction that the log still holds, replayed long ago or not.
type Kept struct {
	Sequence    uint32
	first, last uint32 // blocks of the log
	whole       bool   // its commit is there
}

// maxKept bounds the transactions that are listed: each takes three blocks at least.
const maxKept = 1 << 20

// Kept lists the transactions in the log in the order of their sequence.
func (l *Log) Kept() ([]Kept, error) {
	at := map[uint32]int{}
	var all []Kept
	w := newWindow(l.r, l.BlockSize)
	for i := l.First; i < l.end(); i++ {
		b, err := w.block(i)
		if err != nil {
			return all, err
		}
		if beUint32(b) != magic {
			continue
		}
		kind, seq := beUint32(b[4:]), beUint32(b[8:])
		if kind != descriptorBlock && kind != revokeBlock && kind != commitBlock {
			continue
		}
		k, ok := at[seq]
		if !ok {
			if len(all) >= maxKept {
				break
			}
			k = len(all)
			at[seq] = k
			all = append(all, Kept{Sequence: seq, first: i})
		} else if all[k].whole && kind != commitBlock {
			all[k].first = i // it goes round the end of the log, and begins there
		}
		if kind == commitBlock {
			all[k].last, all[k].whole = i, true
		}
	}
	slices.SortFunc(all, func(a, b Kept) int { return int(int32(a.Sequence - b.Sequence)) })
	return all, nil
}

// Follows says whether no transaction was between a and b: its number is the
// next one, or it begins in the block behind a's end. A mount leaves numbers out.
func (l *Log) Follows(a, b Kept) bool {
	return b.Sequence == a.Sequence+1 || a.whole && l.wrap(a.last+1-l.First) == b.first
}
