package main

import (
	"encoding/json"
	"os"
	"testing"

	"lagan/internal/isolate"
)

// TestOnTerminal: a child prints as its parent's terminal needs it, though its
// own output is a file.
func TestOnTerminal(t *testing.T) {
	for request, want := range map[string]bool{"true": true, "false": false, `{"snapshot":{}}`: false, "": false} {
		u := &ui{stdout: os.Stdout, child: &isolate.Child{Request: json.RawMessage(request)}}
		if got := u.onTerminal(); got != want {
			t.Errorf("%q: %v", request, got)
		}
	}
}
