//go:build !linux

package packtest

import "testing"

// TestKernel takes Linux.
func (f Format) TestKernel(t *testing.T, variants [][]string) { t.Skip("takes Linux") }

func (f Format) makeGolden(t *testing.T) { t.Fatal("takes Linux") }
