package analyzer

import (
	"context"
	"fmt"
	"slices"
	"testing"
)

func TestMatchQueue(t *testing.T) {
	n := newNode(context.Background(), Options{})
	f := &finder{n: n, ctx: context.Background()}
	f.begin()
	var looked []int
	for i := range 3 * maxQueued {
		f.later(fmt.Sprintf("place %d", i), func() {
			looked = append(looked, i)
			if i%50 == 7 {
				panic("at 7")
			}
		})
	}
	f.settle()
	f.settle() // nothing is left to wait for
	if len(looked) != 3*maxQueued || !slices.IsSorted(looked) {
		t.Errorf("looked at %v", looked)
	}
	if gaps := n.Gaps(); len(gaps) != 2 || gaps[0].Object != "place 57" || gaps[1].Object != "place 7" {
		t.Errorf("the gaps are %v", gaps)
	}
	at := len(looked)
	if f.later("after", func() { at++ }); at != len(looked)+1 {
		t.Error("without a queue, it isn't looked at once")
	}
}

// Where each object is to be read by itself, nothing is read beside the telling.
func TestMatchQueueByItself(t *testing.T) {
	n := newNode(context.Background(), Options{Begin: func(string) (func(), error) { return func() {}, nil }})
	f := &finder{n: n, ctx: context.Background()}
	f.begin()
	if f.queue != nil {
		t.Error("there is a queue")
	}
}

func TestMatchQueueCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	f := &finder{n: newNode(ctx, Options{}), ctx: ctx}
	f.begin()
	cancel()
	f.later("place", func() { t.Error("it is looked at after the end was asked for") })
	f.settle()
}
