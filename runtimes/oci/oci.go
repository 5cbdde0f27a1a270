// Package oci reads the JSON documents that every container runtime keeps in
// one shape: an image's configuration (OCI image-spec config.md, and Docker's
// older kin) and a container's specification (OCI runtime-spec config.md).
//
// The documents are hostile. A member of the wrong type is an error, and
// the other members are read all the same.
package oci

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"lagan/evidence"
	"lagan/internal/jsonscan"
	"lagan/runtimes"
)

// Scanned is a document that is read without reflection where nothing is unusual
// in it: as encoding/json reads it, of which the tests make sure.
type Scanned interface {
	// Scan reads the document into a value that is empty.
	Scan(s *jsonscan.Scanner)
	// Reset empties the value.
	Reset()
}

// Decode decodes JSON into v, which is empty. Where a member is of the wrong type, v
// holds the others and the error is evidence.ErrCorrupt, as for all that isn't JSON.
func Decode(raw []byte, v any) error {
	if quick, ok := v.(Scanned); ok {
		if jsonscan.Read(raw, quick.Scan) {
			return nil
		}
		quick.Reset()
	}
	err := json.Unmarshal(raw, v)
	if err == nil {
		return nil
	}
	var at *json.SyntaxError
	if errors.As(err, &at) {
		return fmt.Errorf("decoding JSON at offset %#x: %w: %w", at.Offset, err, evidence.ErrCorrupt)
	}
	return fmt.Errorf("decoding JSON: %w: %w", err, evidence.ErrCorrupt)
}

// Document decodes as Decode does, and returns raw for keeping, nil where it
// isn't JSON and would spoil what it is put into.
func Document(raw []byte, v any) (json.RawMessage, error) {
	err := Decode(raw, v)
	var at *json.SyntaxError
	if errors.As(err, &at) {
		return nil, err
	}
	return raw, err
}

// Time returns the time that an RFC 3339 text means, and the zero time for what
// means none: an empty text, year 1 (Go's zero time), anything else.
func Time(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.IsZero() || t.Year() <= 1 {
		return time.Time{}
	}
	return t.UTC()
}

// config is what is read of an image's configuration: image-spec config.md, specs-go/v1/config.go.
type config struct {
	Created      string `json:"created"`
	Author       string `json:"author"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant"`
	OS           string `json:"os"`
	Config       struct {
		Labels map[string]string `json:"Labels"`
	} `json:"config"`
	RootFS struct {
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
	History []struct {
		Created    string `json:"created"`
		CreatedBy  string `json:"created_by"`
		Author     string `json:"author"`
		Comment    string `json:"comment"`
		EmptyLayer bool   `json:"empty_layer"`
	} `json:"history"`
}

// Configure fills in what an image's configuration tells of it: times,
// platform, author, labels, layers and history.
func Configure(img *runtimes.Image, raw []byte) error {
	var c config
	var err error
	img.Config, err = Document(raw, &c)
	img.Created = Time(c.Created)
	img.Author = c.Author
	img.Architecture = c.Architecture
	if c.Variant != "" {
		img.Architecture += "/" + c.Variant
	}
	img.OS = c.OS
	img.Labels = c.Config.Labels
	img.Layers = c.RootFS.DiffIDs
	next, steps := 0, 0
	for _, h := range c.History {
		if !h.EmptyLayer {
			steps++
		}
	}
	for _, h := range c.History {
		out := runtimes.History{Created: Time(h.Created), CreatedBy: h.CreatedBy, Author: h.Author, Comment: h.Comment, Empty: h.EmptyLayer}
		// Where the history has more or fewer steps than layers, which made which isn't known.
		if !h.EmptyLayer && steps == len(img.Layers) {
			out.DiffID = img.Layers[next]
			next++
		}
		img.History = append(img.History, out)
	}
	return err
}

// ChainIDs returns the chain id of each layer, bottom first: image-spec config.md, "Layer ChainID".
func ChainIDs(diffIDs []string) []string {
	out := make([]string, len(diffIDs))
	for i, d := range diffIDs {
		if i == 0 {
			out[0] = d
			continue
		}
		sum := sha256.Sum256([]byte(out[i-1] + " " + d))
		out[i] = "sha256:" + hex.EncodeToString(sum[:])
	}
	return out
}

// Digest returns the sha256 digest of b as registries write it.
func Digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// IsSHA256 says whether s is "sha256:" and 64 lower-case hexadecimal digits.
func IsSHA256(s string) bool {
	hexed, ok := strings.CutPrefix(s, "sha256:")
	return ok && IsHex64(hexed)
}

// IsHex64 says whether s is 64 lower-case hexadecimal digits, as ids and digests are.
func IsHex64(s string) bool {
	if len(s) != 64 {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') })
}
