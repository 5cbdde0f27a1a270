// Package scantest holds what reads a document in one pass against encoding/json.
package scantest

import (
	"encoding/json"
	"reflect"
	"testing"

	"lagan/internal/jsonscan"
)

// Document is a type that reads itself.
type Document[T any] interface {
	*T
	Scan(*jsonscan.Scanner)
}

// Same fails the test where a document is read in another way than encoding/json
// reads it. It says whether the document was read in one pass.
func Same[T any, P Document[T]](t testing.TB, raw []byte) bool {
	t.Helper()
	var got, want T
	if !jsonscan.Read(raw, P(&got).Scan) {
		return false
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatalf("%T: read, and to encoding/json it is an error: %v\n%q", got, err, raw)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%T: got %+v, encoding/json gives %+v\n%q", got, got, want, raw)
	}
	return true
}

// Seeds adds documents, and what spoils each of them in one place.
func Seeds(f *testing.F, documents ...string) {
	for _, d := range documents {
		f.Add([]byte(d))
		for i := 1; i < len(d); i += 1 + len(d)/8 {
			f.Add([]byte(d[:i] + d[i+1:]))
			f.Add([]byte(d[:i] + "null" + d[i:]))
		}
	}
}
