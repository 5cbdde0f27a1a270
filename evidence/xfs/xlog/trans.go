package xlog

import (
	"encoding/binary"
	"fmt"

	"lagan/evidence"
)

// maxPending bounds the bytes of transactions that have begun and not ended. The
// kernel throttles a checkpoint at 64 MiB and has at most four of them under way
// (XLOG_CIL_BLOCKING_SPACE_LIMIT, xlog_cil_init).
const maxPending = 256 << 20

// What a transaction, an item and a region cost beside their bytes.
const (
	transCost  = 256
	itemCost   = 96
	regionCost = 32
)

// item is one logged object: a format structure in the first region, data in the others.
type item struct {
	total   int // regions, as the format structure says
	regions [][]byte
}

// trans is a transaction under reassembly.
type trans struct {
	lsn   uint64 // of the record in which it began
	order binary.ByteOrder
	head  []byte // struct xfs_trans_header, until it is whole
	items []*item
	arena []byte
	cost  int64
}

// typ returns the item's type, the first field of every format structure.
func (it *item) typ(order binary.ByteOrder) uint16 { return order.Uint16(it.regions[0]) }

// assembler collects the operations of records into transactions.
type assembler struct {
	open map[uint32]*trans
	cost int64
	// headsOnly keeps of each item the format structure alone (pass 1).
	headsOnly bool
	commit    func(*trans) error
	uuid      [16]byte
}

// add takes apart one record (xlog_recover_process_data).
func (a *assembler) add(r *record) error {
	var order binary.ByteOrder = binary.LittleEndian
	switch {
	case r.format == fmtLinuxBE:
		order = binary.BigEndian
	case r.format != fmtLinuxLE:
		return fmt.Errorf("log record at block %#x: format %d: %w", r.at, r.format, evidence.ErrUnsupported)
	}
	if r.uuid != a.uuid {
		return fmt.Errorf("log record at block %#x belongs to another filesystem, %x: %w", r.at, r.uuid, evidence.ErrCorrupt)
	}
	data := r.data
	for n := r.ops; n > 0 && len(data) > 0; n-- {
		if len(data) < opHeaderSize {
			return fmt.Errorf("log record at block %#x: op header at %#x is cut short: %w", r.at, len(r.data)-len(data), evidence.ErrCorrupt)
		}
		tid, size := binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:])
		client, flags := data[8], data[9]
		if client != clientTransaction && client != clientLog || int64(size) > int64(len(data)-opHeaderSize) {
			return fmt.Errorf("log record at block %#x: op header at %#x: client %#x, length %#x: %w",
				r.at, len(r.data)-len(data), client, size, evidence.ErrCorrupt)
		}
		body := data[opHeaderSize:][:size]
		data = data[opHeaderSize+size:]
		if err := a.op(r, order, tid, flags, body); err != nil {
			return fmt.Errorf("log record at block %#x: %w", r.at, err)
		}
	}
	return nil
}

// op takes one operation (xlog_recover_process_ophdr, xlog_recovery_process_trans).
func (a *assembler) op(r *record, order binary.ByteOrder, tid uint32, flags byte, body []byte) error {
	t := a.open[tid]
	if t == nil {
		// What isn't a start is the rest of a transaction that began before the tail.
		if flags&opStart != 0 {
			t = &trans{lsn: r.lsn, order: order}
			a.open[tid] = t
			return a.charge(t, transCost)
		}
		return nil
	}
	flags &^= opEnd
	if flags&opWasCont != 0 {
		flags &^= opContinue
	}
	var err error
	switch flags {
	case 0, opContinue:
		err = a.region(t, body)
	case opWasCont:
		err = a.continued(t, body)
	case opCommit:
		err = a.commit(t)
		a.drop(tid, t)
	case opUnmount:
		a.drop(tid, t)
	default:
		err = fmt.Errorf("transaction %#x: op flags %#x: %w", tid, flags, evidence.ErrCorrupt)
	}
	if err != nil && a.open[tid] == t {
		a.drop(tid, t)
	}
	return err
}

func (a *assembler) drop(tid uint32, t *trans) {
	delete(a.open, tid)
	a.cost -= t.cost
}

func (a *assembler) charge(t *trans, n int64) error {
	t.cost += n
	if a.cost += n; a.cost > maxPending {
		return fmt.Errorf("transactions without an end take more than %d MiB: %w", maxPending>>20, evidence.ErrCorrupt)
	}
	return nil
}

// keep copies b into the transaction's memory.
func (a *assembler) keep(t *trans, b []byte) ([]byte, error) {
	cost := int64(regionCost)
	if len(b) > cap(t.arena)-len(t.arena) {
		room := max(len(b), int(min(64<<10, 512+2*t.cost)))
		cost += int64(room)
		t.arena = make([]byte, 0, room)
	}
	if err := a.charge(t, cost); err != nil {
		return nil, err
	}
	at := len(t.arena)
	t.arena = append(t.arena, b...)
	return t.arena[at:len(t.arena):len(t.arena)], nil
}

// region takes the start of a region (xlog_recover_add_to_trans).
func (a *assembler) region(t *trans, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if t.items == nil {
		if len(b) < 4 || len(b) > transHeaderSize || t.order.Uint32(b) != transMagic {
			return fmt.Errorf("transaction header of %d bytes: %w", len(b), evidence.ErrCorrupt)
		}
		t.head = append(t.head[:0], b...)
		if len(b) == transHeaderSize {
			t.items = []*item{}
		}
		return nil
	}
	var it *item
	if n := len(t.items); n > 0 && len(t.items[n-1].regions) < t.items[n-1].total {
		it = t.items[n-1]
	} else {
		if len(b) < 4 {
			return fmt.Errorf("log item of %d bytes: %w", len(b), evidence.ErrCorrupt)
		}
		it = &item{total: int(t.order.Uint16(b[2:]))}
		if it.total == 0 || it.total > maxRegions {
			return fmt.Errorf("log item of %d regions: %w", it.total, evidence.ErrCorrupt)
		}
		if err := a.charge(t, itemCost); err != nil {
			return err
		}
		t.items = append(t.items, it)
	}
	if a.headsOnly && len(it.regions) > 0 {
		b = nil
	}
	kept, err := a.keep(t, b)
	it.regions = append(it.regions, kept)
	return err
}

// continued takes the rest of a region that the end of a record cut in two (xlog_recover_add_to_cont_trans).
func (a *assembler) continued(t *trans, b []byte) error {
	if t.items == nil {
		if len(t.head)+len(b) != transHeaderSize {
			return fmt.Errorf("transaction header of %d and %d bytes: %w", len(t.head), len(b), evidence.ErrCorrupt)
		}
		t.items = []*item{}
		return nil
	}
	if len(t.items) == 0 {
		return fmt.Errorf("continued region without a beginning: %w", evidence.ErrCorrupt)
	}
	it := t.items[len(t.items)-1]
	last := len(it.regions) - 1
	if a.headsOnly && last > 0 {
		return nil
	}
	if err := a.charge(t, int64(len(b))); err != nil {
		return err
	}
	it.regions[last] = append(it.regions[last], b...) // its capacity is its length: this copies
	return nil
}

// ordered returns the items in the order in which they are replayed
// (xlog_recover_reorder_trans): buffers and inode chunks first, so that inodes
// find them; inode buffers, which hold only the unlinked lists, after the inodes;
// cancellations last, since each of them ends the effect of one.
func (t *trans) ordered() []*item {
	var buffers, others, inodeBuffers, cancels []*item
	for _, it := range t.items {
		switch it.typ(t.order) {
		case itemICreate:
			buffers = append(buffers, it)
		case itemBuf:
			flags := uint16(0)
			if len(it.regions[0]) >= 6 {
				flags = t.order.Uint16(it.regions[0][4:])
			}
			switch {
			case flags&blfCancel != 0:
				cancels = append(cancels, it)
			case flags&blfInodeBuf != 0:
				inodeBuffers = append(inodeBuffers, it)
			default:
				buffers = append(buffers, it)
			}
		default:
			others = append(others, it)
		}
	}
	return append(append(append(buffers, others...), inodeBuffers...), cancels...)
}
