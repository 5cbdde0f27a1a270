//go:build !ebs

package ebs

import "context"

// Built says whether this program can ask the service.
const Built = false

func dial(context.Context, string) (API, error) { return nil, ErrNotBuilt }

// Files are those that asking takes.
func Files() []string { return nil }

// Ports are those that are connected to.
func Ports() []uint16 { return nil }
