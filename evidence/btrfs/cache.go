package btrfs

import "sync"

// cachedNodes bounds the tree blocks that are kept: with the usual 16 KiB, 8 MiB.
const cachedNodes = 512

// nodeCache keeps the tree blocks that were used lately, each at the one place
// that its address gives it.
type nodeCache struct {
	mu    sync.Mutex
	slots [cachedNodes]struct {
		at block
		n  *node
	}
}

func slot(at block) int { return int(at.address >> 12 * 0x9E3779B97F4A7C15 >> 55) }

func (c *nodeCache) get(at block) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := &c.slots[slot(at)]; s.at == at {
		return s.n
	}
	return nil
}

func (c *nodeCache) put(at block, n *node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.slots[slot(at)]
	s.at, s.n = at, n
}
