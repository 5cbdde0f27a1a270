package report_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"lagan/analyzer"
	"lagan/fixtures"
	"lagan/internal/needs"
	"lagan/report"
)

// TestFixturesInBrowser opens the report of each fixture at a desk's and at a phone's width.
func TestFixturesInBrowser(t *testing.T) {
	needs.Time(t)
	for _, name := range fixtures.Names {
		t.Run(name, func(t *testing.T) {
			n, err := analyzer.Open(t.Context(), fixtures.Disk(t, name), analyzer.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			page := func() []byte {
				d, err := n.Report(t.Context(), analyzer.ReportOptions{NoHash: true, Version: "test", Command: []string{"report", name}})
				if err != nil {
					t.Fatal(err)
				}
				var b bytes.Buffer
				if err := report.WriteHTML(&b, d); err != nil {
					t.Fatal(err)
				}
				return b.Bytes()
			}
			first := page()
			if !bytes.Equal(first, page()) {
				t.Error("the same evidence gives two different pages")
			}
			file := filepath.Join(t.TempDir(), "page.html")
			if err := os.WriteFile(file, first, 0o644); err != nil {
				t.Fatal(err)
			}
			report.Ready(t, report.Chromium(t, file, 1280, 900))
			report.Chromium(t, report.Framed(t, file), 500, 900)
		})
	}
}
