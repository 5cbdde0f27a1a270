package analyzer

import (
	"errors"
	"fmt"
	"testing"

	"lagan/timeline"
)

func TestPipe(t *testing.T) {
	for _, count := range []int{0, 1, batchRecords - 1, batchRecords, batchRecords + 1, 10*batchRecords + 3} {
		got := 0
		p := newPipe(func(*timeline.Record) error { got++; return nil })
		for i := range count {
			p.record().Reset(timeline.FSStat, nil)
			if err := p.send(); err != nil {
				t.Fatalf("record %d: %v", i, err)
			}
		}
		if err := p.close(); err != nil || got != count {
			t.Errorf("%d records: the sink had %d, %v", count, got, err)
		}
	}
}

// TestPipeFails checks that a sink that fails ends the teller, wherever it fails.
func TestPipeFails(t *testing.T) {
	full := errors.New("disk full")
	for _, at := range []int{1, batchRecords, batchRecords + 1, 5 * batchRecords} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			got := 0
			p := newPipe(func(*timeline.Record) error {
				if got++; got == at {
					return full
				}
				return nil
			})
			for range 50 * batchRecords {
				p.record().Reset(timeline.FSStat, nil)
				if err := p.send(); err != nil && !errors.Is(err, full) {
					t.Fatal(err)
				}
			}
			if err := p.close(); !errors.Is(err, full) {
				t.Errorf("got %v", err)
			}
			if got != at {
				t.Errorf("the sink was called %d times, want %d", got, at)
			}
		})
	}
}
