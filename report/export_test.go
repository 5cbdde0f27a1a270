package report

// For the tests that need the analyzer, which imports this package.
var (
	Chromium = chromium
	Framed   = framed
	Ready    = ready
)
