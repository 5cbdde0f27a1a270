package btrfs

import (
	"cmp"
	"iter"
	"maps"
	"slices"
)

// changes is what the log tree does to a subvolume: single items that are put
// in the place of those of the disk, or that are gone. It grows while the log
// is replayed, by one goroutine, and is not changed afterwards.
type changes struct {
	objects map[uint64]*objectChanges
}

type objectChanges struct {
	items  map[key]change
	sorted []key // valid if as long as items
}

type change struct {
	data []byte
	gone bool
}

func newChanges() *changes { return &changes{objects: map[uint64]*objectChanges{}} }

// of returns the changes of an object, nil where there are none.
func (c *changes) of(object uint64) *objectChanges {
	if c == nil {
		return nil
	}
	return c.objects[object]
}

func (c *changes) touched(object uint64) bool { return c.of(object) != nil }

func (c *changes) set(k key, ch change) {
	o := c.objects[k.object]
	if o == nil {
		o = &objectChanges{items: map[key]change{}}
		c.objects[k.object] = o
	}
	if _, known := o.items[k]; !known {
		o.sorted = nil
	}
	o.items[k] = ch
}

func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(a.object, b.object), cmp.Compare(a.typ, b.typ), cmp.Compare(a.offset, b.offset))
}

// keys returns the keys in order.
func (o *objectChanges) keys() []key {
	if len(o.sorted) != len(o.items) {
		o.sorted = slices.SortedFunc(maps.Keys(o.items), compareKeys)
	}
	return o.sorted
}

// between returns the keys from one to another, in order.
func (o *objectChanges) between(from, to key) []key {
	all := o.keys()
	lo, _ := slices.BinarySearchFunc(all, from, compareKeys)
	hi, found := slices.BinarySearchFunc(all, to, compareKeys)
	if found {
		hi++
	}
	return all[lo:max(lo, hi)]
}

// settle sorts everything, after which many goroutines may read.
func (c *changes) settle() {
	for _, o := range c.objects {
		o.keys()
	}
}

// keys returns all keys in order.
func (c *changes) keys() []key {
	var out []key
	for _, object := range slices.Sorted(maps.Keys(c.objects)) {
		out = append(out, c.objects[object].keys()...)
	}
	return out
}

// merge puts changes, whose keys are given in order, between the items of a tree.
func (c *changes) merge(items iter.Seq2[item, error], keys []key) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		// before yields the changes that come before a key.
		before := func(limit key) bool {
			for len(keys) > 0 && keys[0].less(limit) {
				k := keys[0]
				keys = keys[1:]
				if ch := c.objects[k.object].items[k]; !ch.gone && !yield(item{k, ch.data}, nil) {
					return false
				}
			}
			return true
		}
		for it, err := range items {
			if err == nil {
				if !before(it.key) {
					return
				}
				if len(keys) > 0 && keys[0] == it.key {
					ch := c.objects[it.key.object].items[it.key]
					keys = keys[1:]
					if ch.gone {
						continue
					}
					it.data = ch.data
				}
			}
			if !yield(it, err) {
				return
			}
		}
		if before(lastKey) && len(keys) > 0 {
			if ch := c.objects[keys[0].object].items[keys[0]]; !ch.gone {
				yield(item{keys[0], ch.data}, nil)
			}
		}
	}
}

// between yields the items of one object from a key to another, as the log
// tree left them.
func (v *subvolume) between(from, to key) iter.Seq2[item, error] {
	items := v.items(from, to)
	if o := v.changes.of(from.object); o != nil {
		return v.changes.merge(items, o.between(from, to))
	}
	return items
}

// object yields the items of an inode whose types are in a range.
func (v *subvolume) object(object uint64, first, last uint8) iter.Seq2[item, error] {
	return v.between(key{object, first, 0}, key{object, last, ^uint64(0)})
}

// get returns an item, as the log tree left it.
func (v *subvolume) get(k key) ([]byte, bool, error) {
	if o := v.changes.of(k.object); o != nil {
		if ch, ok := o.items[k]; ok {
			return ch.data, !ch.gone, nil
		}
	}
	return v.find(k)
}

// merged yields all items of a subvolume in order.
func (v *subvolume) merged() iter.Seq2[item, error] {
	if v.changes == nil {
		return v.all()
	}
	return v.changes.merge(v.all(), v.changes.keys())
}
