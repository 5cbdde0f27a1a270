package main

import (
	"context"
	"fmt"
	"testing"
)

func TestErrorText(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("hashing: %w", context.Canceled), "interrupted"},
		{fmt.Errorf("interrupted: the rest is for the next run: %w", context.Canceled), "interrupted: the rest is for the next run: context canceled"},
		{fmt.Errorf("no container %s", "x\nlagan: all is well"), "no container x\n  lagan: all is well"},
		{fmt.Errorf("a\n  b\x1b[2J"), "a\n  b\\x1b[2J"},
	} {
		if got := errorText(test.err); got != test.want {
			t.Errorf("%q, not %q", got, test.want)
		}
	}
}
