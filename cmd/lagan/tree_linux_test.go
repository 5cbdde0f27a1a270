package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"lagan/fixtures"
	"lagan/internal/needs"
)

// This file goes behind trap_test.go, which measures the memory of processes
// that begin as copies of this one.

// TestArchivesAndFolders has GNU tar pack the kernel's mount of a disk, its root
// and its data root alone, and takes each command to say of the archives, and of the
// folders, what it says of the disk.
func TestArchivesAndFolders(t *testing.T) {
	needs.Root(t, "mounting a disk")
	disk, dir := fixtures.Disk(t, "docker-ext4"), t.TempDir()
	mnt := filepath.Join(dir, "mnt")
	if err := os.Mkdir(mnt, 0o700); err != nil {
		t.Fatal(err)
	}
	loop := strings.TrimSpace(tool(t, "losetup", "-fr", "--show", "-o", "1048576", disk))
	t.Cleanup(func() { tool(t, "losetup", "-d", loop) })
	tool(t, "mount", "-t", "ext4", "-o", "ro,noload", loop, mnt)
	t.Cleanup(func() { tool(t, "umount", mnt) })
	pack := func(name, folder string, args ...string) string {
		out := filepath.Join(dir, name)
		tool(t, "tar", append(args, "--xattrs", "--xattrs-include=*", "--sparse", "-C", folder, "-cf", out, ".")...)
		return out
	}
	docker := filepath.Join(mnt, "var/lib/docker")
	root := pack("root.tar", mnt, "--format=posix")
	tool(t, "zstd", "-q", "-1", root)
	for _, c := range []struct {
		name, path string
		isRoot     bool
		hasBirth   bool
	}{
		{"tar of the root", root, true, false},
		{"tar.zst of the root", root + ".zst", true, false},
		{"tar of the data root", pack("docker.tar", docker, "--format=posix"), false, false},
		{"mounted root", mnt, true, true},
		{"data root", docker, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			commands := [][]string{
				{"containers"}, {"images"}, {"snapshots"}, {"volumes"}, {"networks"}, {"history", "nginx:1.25.3"}, {"inspect", "shop"},
				{"ls", "web-front", "-R", "--hash"}, {"ls", "feat", "-R", "--hash"}, {"ls", "@image:shop:1.0", "-R", "--hash"},
				{"diff", "feat"}, {"diff", "web-front"}, {"diff", "tomcat-prod"}, {"logs", "logs-local"}, {"timeline", "--scope", "containers"},
			}
			switch {
			case !c.isRoot:
			case c.name == "tar.zst of the root": // the same as the tar, when it is unpacked
				commands = [][]string{{"containers"}, {"ls", "@node", "-R"}}
			default:
				commands = append(commands, []string{"ls", "@node", "-R"}, []string{"ls", "@node", "/etc", "-R", "--hash"}, []string{"timeline"})
			}
			for _, args := range commands {
				want, got := records(t, disk, c.hasBirth, args), records(t, c.path, c.hasBirth, args)
				if len(want) == 0 {
					t.Errorf("%q: nothing to compare", args)
				}
				if !slices.Equal(want, got) {
					t.Errorf("%q: %d records, %d of the disk; %s", args, len(got), len(want), firstDifference(got, want))
				}
			}
			want, got := export(t, disk), export(t, c.path)
			if !bytes.Equal(want, got) {
				t.Errorf("export: %d bytes, %d of the disk, or other ones", len(got), len(want))
			}
		})
	}
}

// records runs a command and returns its records in order, without what an
// archive doesn't have and without what names the evidence.
func records(t *testing.T, path string, hasBirth bool, args []string) []string {
	t.Helper()
	format := []string{"--output", "jsonl"}
	if args[0] == "timeline" {
		format = nil
	}
	var out, errs bytes.Buffer
	if status := run(t.Context(), append(append([]string{args[0], path}, args[1:]...), format...), &out, &errs); status != 0 {
		t.Fatalf("%q: status %d: %s", args, status, &errs)
	}
	var all []string
	for line := range strings.Lines(out.String()) {
		var r map[string]any
		if json.Unmarshal([]byte(line), &r) != nil { // of a document of several lines
			all = append(all, line)
			continue
		}
		if line := normal(r, hasBirth); line != "" {
			all = append(all, line)
		}
	}
	slices.Sort(all) // events at one time are ordered by what was taken out, too
	return all
}

var linksText = regexp.MustCompile(` Number of links: \d+`)

// normal writes a record without what differs between a disk and a copy of its
// files; "" for one that a copy can't have.
func normal(r map[string]any, hasBirth bool) string {
	if r["parser"] == "lagan/recovered" { // deleted files
		return ""
	}
	for _, key := range []string{"evidence", "file_system_type", "inode", "hostname"} { // a data root has no host's name
		delete(r, key)
	}
	if r["type"] == "dir" || r["file_entry_type"] == "directory" || r["rdev"] != nil || r["device_number"] != nil {
		// The links of folders and of devices, whiteouts among them, are in no archive of GNU tar.
		for _, key := range []string{"size", "nlink", "file_size", "number_of_links"} {
			delete(r, key)
		}
		if text, ok := r["message"].(string); ok {
			r["message"] = linksText.ReplaceAllString(text, "")
		}
	}
	if !hasBirth {
		switch r["data_type"] {
		case "fs:stat":
			if r["timestamp_desc"] == "Creation Time" {
				return ""
			}
			delete(r, "macb")
		case "container:volume", "kubernetes:pod": // of one that has no record its folder's creation
			if r["timestamp_desc"] == "Creation Time" {
				return ""
			}
		case "lagan:finding": // dated by its file's creation, where that is known
			for _, key := range []string{"datetime", "timestamp", "timestamp_nanoseconds", "timestamp_desc", "comment"} {
				delete(r, key)
			}
		}
		delete(r, "btime")
		if r["driver"] != nil { // a volume's time of creation is its folder's
			delete(r, "created")
		}
	}
	b, _ := json.Marshal(r)
	return string(b)
}

func firstDifference(got, want []string) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("first\n%s\nwant\n%s", got[i], want[i])
		}
	}
	return "one goes on"
}

func export(t *testing.T, path string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.tar")
	var stdout, errs bytes.Buffer
	if status := run(t.Context(), []string{"export", path, "feat", "-o", out}, &stdout, &errs); status != 0 {
		t.Fatalf("export: status %d: %s", status, &errs)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	b, err := exec.Command(needs.Tool(t, name), args...).CombinedOutput()
	if err != nil {
		needs.Lack(t, "%s %q: %v: %s", name, args, err, b)
	}
	return string(b)
}
