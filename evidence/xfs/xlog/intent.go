package xlog

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"lagan/evidence"
)

// maxIntents bounds the memory for unfinished operations; a log of 2 GiB holds fewer live ones.
const maxIntents = 1 << 20

// maxIntentBody is how much of an intent is looked at: struct xfs_xmi_log_format is the longest.
const maxIntentBody = 88

// intentKey names an intent: its "done" item repeats the number.
type intentKey struct {
	typ uint16
	id  uint64
}

// intent is a deferred operation that was begun.
type intent struct {
	intentKey
	body []byte
	done bool
}

// intent remembers an operation until its done item comes (xlog_recover_intent_item).
func (rp *replayer) intent(typ uint16, it *item) error {
	b := it.regions[0]
	if len(b) < 16 {
		return fmt.Errorf("intent of %d bytes: %w", len(b), evidence.ErrCorrupt)
	}
	k := intentKey{typ, rp.order.Uint64(b[8:])}
	if len(rp.byID) >= maxIntents {
		return fmt.Errorf("more than %d intents: %w", maxIntents, evidence.ErrCorrupt)
	}
	in := &intent{intentKey: k}
	if typ == itemBUI || typ == itemATTRI || typ == itemXMI {
		in.body = slices.Clone(b[:min(len(b), maxIntentBody)])
	}
	rp.byID[k] = in
	rp.intents = append(rp.intents, in)
	return nil
}

// done forgets an operation that was finished (xlog_recover_release_intent).
func (rp *replayer) done(typ uint16, it *item) error {
	b := it.regions[0]
	if len(b) < 16 {
		return fmt.Errorf("done item of %d bytes: %w", len(b), evidence.ErrCorrupt)
	}
	k := intentKey{typ, rp.order.Uint64(b[8:])}
	if in := rp.byID[k]; in != nil {
		in.done, in.body = true, nil
		delete(rp.byID, k)
	}
	if len(rp.intents) > 2*len(rp.byID)+1024 {
		rp.intents = slices.DeleteFunc(rp.intents, func(in *intent) bool { return in.done })
	}
	return nil
}

// finishIntents deals with the operations that the crash left unfinished
// (xlog_recover_process_intents). Those on free space, reverse mappings and
// reference counts change nothing that a path leads to, and are only noted.
func (rp *replayer) finishIntents() error {
	counts := make(map[string]int)
	for _, in := range rp.intents {
		if in.done {
			continue
		}
		counts[intentNames[in.typ]]++
		var err error
		switch in.typ {
		case itemBUI:
			err = rp.finishBmap(in.body)
		case itemATTRI:
			// The operations on parent pointers, from XFS_ATTRI_OP_FLAGS_PPTR_SET on, show in no view.
			if len(in.body) >= 28 && in.body[24] < 4 {
				err = fmt.Errorf("inode %d: left as it is: %w", rp.order.Uint64(in.body[16:]), evidence.ErrUnsupported)
			}
		case itemXMI:
			err = rp.finishExchange(in.body)
		}
		if errors.Is(err, evidence.ErrCorrupt) || errors.Is(err, evidence.ErrUnsupported) && err != errTooMuch {
			rp.warn(fmt.Errorf("unfinished operation (%s): %w", intentNames[in.typ], err))
		} else if err != nil {
			return err
		}
	}
	var parts []string
	for name, n := range counts {
		parts = append(parts, fmt.Sprintf("%d %s", n, name))
	}
	if len(parts) > 0 {
		slices.Sort(parts)
		rp.notes = append(rp.notes, "operations under way: "+strings.Join(parts, ", "))
	}
	return nil
}
