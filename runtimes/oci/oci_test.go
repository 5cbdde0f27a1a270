package oci_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/oci"
)

const config = `{"created":"2026-01-02T03:04:05.6Z","author":"a","architecture":"arm64","variant":"v8","os":"linux",
"config":{"Labels":{"k":"v"}},"rootfs":{"type":"layers","diff_ids":["sha256:1","sha256:2"]},
"history":[{"created":"2026-01-01T00:00:00Z","created_by":"COPY"},{"created_by":"ENV","empty_layer":true},{"created_by":"RUN"}]}`

func TestConfigure(t *testing.T) {
	var img runtimes.Image
	if err := oci.Configure(&img, []byte(config)); err != nil {
		t.Fatal(err)
	}
	if !img.Created.Equal(time.Date(2026, 1, 2, 3, 4, 5, 6e8, time.UTC)) || img.Architecture != "arm64/v8" || img.OS != "linux" || img.Author != "a" ||
		img.Labels["k"] != "v" || len(img.Layers) != 2 || len(img.History) != 3 {
		t.Errorf("%+v", img)
	}
	for i, want := range []string{"sha256:1", "", "sha256:2"} {
		if img.History[i].DiffID != want {
			t.Errorf("step %d made %q, want %q", i, img.History[i].DiffID, want)
		}
	}
	// A history of other length tells no step's layer.
	img = runtimes.Image{}
	if err := oci.Configure(&img, []byte(`{"rootfs":{"diff_ids":["a"]},"history":[{},{}]}`)); err != nil || img.History[0].DiffID != "" {
		t.Errorf("%v, %+v", err, img.History)
	}
}

func TestDocumentKeepsWhatIsJSON(t *testing.T) {
	for _, c := range []struct {
		raw  string
		kept bool
		bad  bool
		args int
	}{
		{`{"process":{"args":["a"]},"linux":{}}`, true, false, 1},
		{`{"process":{"args":["a"]},"windows":{}}`, true, false, 1},
		{`{"process":{"args":["a"]}}`, true, true, 1},                         // said, and the rest read
		{`{"process":{"args":["a"]},"linux":{},"hostname":7}`, true, true, 1}, // of another type: said, and the rest read
		{`{"process":{"args":["a"`, false, true, 0},
		{``, false, true, 0},
		{`null`, true, true, 0},
	} {
		var ctr runtimes.Container
		err := oci.Specify(&ctr, []byte(c.raw))
		if (ctr.Spec != nil) != c.kept || (err != nil) != c.bad || len(ctr.Command) != c.args || err != nil && !errors.Is(err, evidence.ErrCorrupt) {
			t.Errorf("%s: kept %v, %v, %d arguments", c.raw, ctr.Spec != nil, err, len(ctr.Command))
		}
	}
}

func TestSpecify(t *testing.T) {
	for _, c := range []struct {
		name, raw  string
		privileged bool
		mounts     int
	}{
		{"ordinary", `{"process":{"capabilities":{"bounding":["CAP_CHOWN"]}},"linux":{"maskedPaths":["/proc/kcore"]},"mounts":[{"type":"proc","destination":"/proc"},{"type":"tmpfs","destination":"/dev"},{"type":"bind","source":"/x","destination":"/y","options":["rbind","ro"]}]}`, false, 1},
		{"privileged", `{"process":{"capabilities":{"bounding":["CAP_SYS_ADMIN","CAP_SYS_MODULE","CAP_SYS_RAWIO"]}},"linux":{}}`, true, 0},
		{"every capability, but masked", `{"process":{"capabilities":{"bounding":["CAP_SYS_ADMIN","CAP_SYS_MODULE","CAP_SYS_RAWIO"]}},"linux":{"maskedPaths":["/proc/kcore"]}}`, false, 0},
		{"another platform's", `{"process":{"args":["x"]},"windows":{}}`, false, 0},
	} {
		var ctr runtimes.Container
		if err := oci.Specify(&ctr, []byte(c.raw)); err != nil || ctr.Privileged != c.privileged || len(ctr.Mounts) != c.mounts {
			t.Errorf("%s: %v, privileged %v, mounts %v", c.name, err, ctr.Privileged, ctr.Mounts)
		}
		if len(ctr.Mounts) == 1 && (!ctr.Mounts[0].ReadOnly || ctr.Mounts[0].Options != "rbind,ro") {
			t.Errorf("%s: %+v", c.name, ctr.Mounts[0])
		}
	}
}

// TestChainIDs has the example of image-spec config.md computed with sha256sum.
func TestChainIDs(t *testing.T) {
	got := oci.ChainIDs([]string{"sha256:a", "sha256:b", "sha256:c"})
	second := oci.Digest([]byte("sha256:a sha256:b"))
	if got[0] != "sha256:a" || got[1] != second || got[2] != oci.Digest([]byte(second+" sha256:c")) || len(oci.ChainIDs(nil)) != 0 {
		t.Errorf("%q", got)
	}
}

func TestTime(t *testing.T) {
	for text, known := range map[string]bool{"": false, "0001-01-01T00:00:00Z": false, "yesterday": false, "2026-01-02T03:04:05.123456789+02:00": true} {
		if got := oci.Time(text); got.IsZero() == known || known && got.Location() != time.UTC {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestShapes(t *testing.T) {
	hex := "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for s, want := range map[string]bool{"sha256:" + hex: true, "sha256:" + hex[1:]: false, hex: false, "sha256:../" + hex[3:]: false, "sha512:" + hex: false, "sha256:" + hex[:63] + "A": false} {
		if oci.IsSHA256(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}

func FuzzDocuments(f *testing.F) {
	f.Add([]byte(config))
	f.Add([]byte(`{"process":{"args":["a"],"env":["b"]},"mounts":[{"destination":"/x","options":["ro"]}],"linux":{"maskedPaths":[]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var img runtimes.Image
		var ctr runtimes.Container
		for _, err := range []error{oci.Configure(&img, raw), oci.Specify(&ctr, raw)} {
			if err != nil && !errors.Is(err, evidence.ErrCorrupt) {
				t.Error(err)
			}
		}
		if img.Config != nil && !json.Valid(img.Config) || ctr.Spec != nil && !json.Valid(ctr.Spec) {
			t.Error("kept what isn't JSON")
		}
		oci.ChainIDs(img.Layers)
	})
}
