package analyzer

import "lagan/evidence"

// maxIndexed bounds the memory of indexes that are kept from the search for data
// roots until their files are told. The first is kept whatever its size.
const maxIndexed = 256 << 20

// indexAhead indexes a volume whose files will be told, so that the search for
// data roots needn't read its directories too; nil where they won't.
func (n *Node) indexAhead(v *Volume) *index {
	if _, ok := v.FS.(evidence.Scanner); !ok || !n.options.TellFiles {
		return nil
	}
	var x *index
	n.guard(v.Index, "", func() (err error) {
		x, err = n.newIndex(v)
		return err
	})
	if x != nil && (n.indexed == nil || n.IndexSize()+x.bytes() <= maxIndexed) {
		if n.indexed == nil {
			n.indexed = make(map[*Volume]*index)
		}
		n.indexed[v] = x
	}
	return x
}

// IndexSize is how many bytes of memory the indexes of files take that Options.TellFiles asked for.
func (n *Node) IndexSize() (size int64) {
	for _, x := range n.indexed {
		size += x.bytes()
	}
	return size
}

func (n *Node) newIndex(v *Volume) (*index, error) {
	return newIndex(v.FS, v.FS.Root(), func(err error) { n.gap(v.Index, "", err) })
}

// takeIndex returns the index of a volume, for good.
func (n *Node) takeIndex(v *Volume) (*index, error) {
	if x := n.indexed[v]; x != nil {
		delete(n.indexed, v)
		return x, nil
	}
	return n.newIndex(v)
}
