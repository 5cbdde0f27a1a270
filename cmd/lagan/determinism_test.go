package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"lagan/fixtures"
	"lagan/internal/needs"
)

// TestDeterminism runs commands in processes of their own, whose number of
// processors, time zone, language and folder differ: the bytes are the same.
func TestDeterminism(t *testing.T) {
	needs.Time(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, disk := range []string{"docker-ext4", "eks-xfs"} {
		path := fixtures.Disk(t, disk)
		for _, args := range [][]string{{"timeline", path}, {"containers", path, "--output", "json"}, {"recover", path, "--output", "jsonl"}, {"info", path}} {
			sums := map[string]string{}
			for i, zone := range []string{"UTC", "Asia/Kolkata", "America/St_Johns"} {
				cmd := exec.Command(exe, append(args, "--jobs", fmt.Sprint(1+i%2))...)
				cmd.Args[0] = "lagan"
				cmd.Env = append(os.Environ(), "TZ="+zone, "LANG="+[]string{"C", "de_DE.UTF-8"}[i%2])
				cmd.Dir = []string{t.TempDir(), "/"}[i%2]
				out, err := cmd.Output()
				if code := cmd.ProcessState.ExitCode(); code != exitOK && code != exitPartial {
					t.Fatalf("%s: exit %d: %v", args[0], code, err)
				}
				sums[fmt.Sprintf("%x", sha256.Sum256(out))] = zone
			}
			if len(sums) > 1 {
				t.Errorf("%s of %s isn't the same every time: %v", args[0], disk, sums)
			}
		}
	}
}
