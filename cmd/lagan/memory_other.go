//go:build !linux

package main

// machineMemory is unknown here: memory has no limit but what --max-memory says.
func machineMemory() uint64 { return 0 }
