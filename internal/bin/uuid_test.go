package bin

import "testing"

func TestUUID(t *testing.T) {
	b := []byte("\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef!")
	if got := UUID(b); got != "01234567-89ab-cdef-0123-456789abcdef" {
		t.Error(got)
	}
	if got := UUID(b[:15]); got != "" {
		t.Errorf("of 15 bytes %q", got)
	}
}
