package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page's parts
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"strings"
)

var (
	//go:embed page.html
	page string
	//go:embed page.css
	style string
	//go:embed page.js
	pageScript string
	//go:embed timeline.js
	timelineScript string
	// The parts are one function, whose names are none of the window's.
	script = "\"use strict\";\n(() => {\n" + timelineScript + pageScript + "})();\n"
)

// WriteJSON writes the data on one line.
func WriteJSON(w io.Writer, d *Data) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(d)
}

// WriteHTML writes the page.
func WriteHTML(w io.Writer, d *Data) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b) // <, > and & become \u003c and so on
	if err := e.Encode(d); err != nil {
		return err
	}
	title := "lagan report"
	if len(d.Evidence) > 0 {
		title += ": " + d.Evidence[0].Name
	}
	// What is put in last can't be taken for a place to put something into.
	parts := strings.NewReplacer(
		"{{policy}}", policy(), "{{title}}", html.EscapeString(title), "{{style}}", style, "{{script}}", script, "{{data}}", strings.TrimSpace(b.String()),
	)
	_, err := parts.WriteString(w, page)
	return err
}

// policy lets the page's own style and script work, known by their hashes, and
// nothing else: no request, no form, no frame.
func policy() string {
	return fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; img-src data:; base-uri 'none'; form-action 'none'", source(style), source(script))
}

func source(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
