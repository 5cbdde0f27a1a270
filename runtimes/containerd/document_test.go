package containerd

import (
	"fmt"
	"strings"
	"testing"

	"lagan/runtimes/oci"
)

// TestBlobDocuments: a deleted manifest and configuration tell of an image only
// where they are what their name says.
func TestBlobDocuments(t *testing.T) {
	s := &Store{root: "/var/lib/containerd"}
	s.once.Do(func() {})
	diff := "sha256:" + strings.Repeat("1", 64)
	config := fmt.Sprintf(`{"architecture":"amd64","os":"linux","created":"2026-01-02T03:04:05Z","config":{"Env":["APP_VERSION=8.5"]},"rootfs":{"type":"layers","diff_ids":[%q]}}`, diff)
	manifest := fmt.Sprintf(`{"schemaVersion":2,"config":{"digest":%q,"size":1},"layers":[{"digest":%q,"size":2}],"annotations":{"org.opencontainers.image.ref.name":"app:8.5"}}`, oci.Digest([]byte(config)), diff)
	at := func(text string) string {
		return s.root + "/" + s.layout.blobs() + "/sha256/" + strings.TrimPrefix(oci.Digest([]byte(text)), "sha256:")
	}
	for _, c := range []struct{ name, path, text, id, digest, called string }{
		{"configuration", at(config), config, oci.Digest([]byte(config)), "", ""},
		{"manifest", at(manifest), manifest, oci.Digest([]byte(config)), oci.Digest([]byte(manifest)), "app:8.5"},
		{"of another digest", at(config), config + " ", "", "", ""},
		{"no document", at(`{"a":1}`), `{"a":1}`, "", "", ""},
		{"elsewhere", "/tmp/x", config, "", "", ""},
	} {
		got := s.Document(c.path, []byte(c.text))
		if c.id == "" {
			if len(got) != 0 {
				t.Errorf("%s: %+v", c.name, got)
			}
			continue
		}
		if len(got) != 1 || got[0].ID != c.id || got[0].Image.Digest != c.digest || got[0].Name != c.called || got[0].Source != c.path {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}
