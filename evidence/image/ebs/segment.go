package ebs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// segmentBlocks is how many blocks are asked for at once: 4 GiB. A page may
	// have 10,000.
	segmentBlocks = 8192
	// keptSegments is of how many the tokens are remembered: a MiB each.
	keptSegments = 16
	// maxPages of a segment's list: pages may be short, and even empty.
	maxPages = 1000
	// A token is used up to this time before it ends.
	spareTime = time.Minute
)

// state is what is known of a block.
type state byte

// The states. The first three stand in the store's file too.
const (
	unknown state = iota
	absent        // never written: zeros
	kept          // in the store, by an earlier run: to be compared with its sum
	present       // in the snapshot
	stored        // in the store
)

// segment is a part of the volume.
type segment struct {
	index   int64
	states  []state
	tokens  map[int64]string
	expires time.Time
	listing chan struct{} // holds one while the list is asked for
}

// segmentOf returns a block's segment, with what the store knows of it.
func (s *Snapshot) segmentOf(block int64) (*segment, error) {
	i := block / segmentBlocks
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.segments[i]; g != nil {
		return g, nil
	}
	states, err := s.store.states(i*segmentBlocks, segmentBlocks)
	if err != nil {
		return nil, err
	}
	g := &segment{index: i, states: states, listing: make(chan struct{}, 1)}
	s.segments[i] = g
	return g, nil
}

// obtain brings a block into the store, unless it is there or there is none.
func (s *Snapshot) obtain(block int64) (state, error) {
	g, err := s.segmentOf(block)
	if err != nil {
		return unknown, err
	}
	if s.stateOf(g, block) == kept {
		good, err := s.store.good(block, s.block, s.size)
		switch {
		case err != nil:
			return unknown, err
		case good:
			s.mu.Lock()
			defer s.mu.Unlock()
			s.counts.Kept++
			g.states[block%segmentBlocks] = stored
			return stored, nil
		}
		s.set(g, block, present)
	}
	switch s.stateOf(g, block) {
	case absent:
		return absent, nil
	case stored: // while this one waited
		return stored, nil
	}
	err = s.fetch(g, block)
	switch {
	case errors.Is(err, errAbsent):
		return absent, nil
	case err != nil:
		s.mu.Lock()
		s.lost++
		lost := s.lost
		s.mu.Unlock()
		if lost >= lostAfter && errors.Is(err, ErrTemporary) {
			s.giveUp(err)
		}
		return unknown, err
	}
	s.set(g, block, stored)
	return stored, nil
}

func (s *Snapshot) stateOf(g *segment, block int64) state {
	s.mu.Lock()
	defer s.mu.Unlock()
	return g.states[block%segmentBlocks]
}

func (s *Snapshot) set(g *segment, block int64, st state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.states[block%segmentBlocks] = st
	if st == stored {
		s.lost = 0
	}
}

// errAbsent says that the snapshot has no such block.
var errAbsent = errors.New("the snapshot has no such block")

// fetch asks for a block and stores it. A token that is refused is asked for
// again, once.
func (s *Snapshot) fetch(g *segment, block int64) error {
	refused := ""
	for again := false; ; again = true {
		token, err := s.token(g, block, refused)
		if err != nil {
			return err
		}
		data, sum, err := s.get(block, token)
		if errors.Is(err, ErrToken) && !again {
			refused = token
			continue
		}
		if err != nil {
			return err
		}
		if err := s.store.put(block, s.block, s.size, data, sum); err != nil {
			return s.giveUp(err) // the disk is full
		}
		s.mu.Lock()
		s.counts.Fetched++
		s.counts.Bytes += int64(len(data))
		s.mu.Unlock()
		return nil
	}
}

// get asks for a block's data until it is whole and as its sum promises.
func (s *Snapshot) get(block int64, token string) (data, sum []byte, err error) {
	err = s.try(func(ctx context.Context) error {
		if data, sum, err = s.api.Get(ctx, s.at.Snapshot, block, token, s.block); err != nil {
			return err
		}
		if int64(len(data)) != s.block {
			return fmt.Errorf("%d bytes of %d: %w", len(data), s.block, ErrTemporary)
		}
		if got := sha256.Sum256(data); !bytes.Equal(got[:], sum) {
			return fmt.Errorf("the data's SHA-256 is %x, and not %x: %w", got, sum, ErrTemporary)
		}
		return nil
	})
	return data, sum, err
}

// token returns the token of a block, one other than that which was refused.
func (s *Snapshot) token(g *segment, block int64, refused string) (string, error) {
	select {
	case g.listing <- struct{}{}: // one asks, the others wait for what it gets
	case <-s.ctx.Done():
		return "", s.ctx.Err()
	}
	defer func() { <-g.listing }()
	s.mu.Lock()
	token, ok := g.tokens[block]
	listed := g.tokens != nil && time.Until(g.expires) > spareTime
	s.mu.Unlock()
	if !listed || ok && token == refused {
		if err := s.listSegment(g); err != nil {
			return "", fmt.Errorf("listing blocks: %w", err)
		}
		s.mu.Lock()
		token, ok = g.tokens[block]
		s.mu.Unlock()
	}
	if !ok {
		return "", errAbsent
	}
	return token, nil
}

// listSegment asks which blocks of a segment the snapshot has.
func (s *Snapshot) listSegment(g *segment) error {
	first := g.index * segmentBlocks
	end := min(first+segmentBlocks, s.counts.Blocks)
	tokens := make(map[int64]string)
	var expires time.Time
	next, last := "", int64(-1)
	for pages := 0; ; pages++ {
		if pages == maxPages {
			return fmt.Errorf("more than %d pages of one list", maxPages)
		}
		page, err := s.list(first, segmentBlocks, next)
		if err != nil {
			return err
		}
		if expires.IsZero() || page.Expires.Before(expires) {
			expires = page.Expires
		}
		for _, b := range page.Blocks {
			if b.Index <= last {
				return fmt.Errorf("block %d is listed after block %d", b.Index, last)
			}
			if last = b.Index; b.Index >= first && b.Index < end {
				tokens[b.Index] = b.Token
			}
		}
		if next = page.Next; next == "" || last >= end-1 {
			break
		}
	}
	return s.listed(g, tokens, expires, end-first)
}

// listed takes what a list said.
func (s *Snapshot) listed(g *segment, tokens map[int64]string, expires time.Time, blocks int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.tokens, g.expires = tokens, expires
	if expires.IsZero() {
		g.expires = time.Now().Add(time.Hour)
	}
	first := g.index * segmentBlocks
	for i := range blocks {
		if _, ok := tokens[first+i]; !ok {
			g.states[i] = absent
		}
	}
	if s.recent = append(slices.DeleteFunc(s.recent, func(r *segment) bool { return r == g }), g); len(s.recent) > keptSegments {
		s.recent[0].tokens = nil
		s.recent = s.recent[1:]
	}
	return s.store.absent(first, g.states[:blocks])
}

// list asks for one page.
func (s *Snapshot) list(start int64, most int, next string) (page *Page, err error) {
	err = s.try(func(ctx context.Context) error {
		s.mu.Lock()
		s.counts.Lists++
		s.mu.Unlock()
		page, err = s.api.List(ctx, s.at.Snapshot, start, most, next)
		return err
	})
	return page, err
}
