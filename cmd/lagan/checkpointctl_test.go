package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What checkpointctl says of the same archives, and with which version, is in the
// README.md of this folder.
const checkpointData = "../../checkpoint/testdata/"

// ctlDiff is what checkpointctl diff --format json prints.
type ctlDiff struct {
	Processes struct{ Added, Removed []ctlProcess } `json:"process_changes"`
	Files     struct{ Added, Removed []ctlFile }    `json:"file_changes"`
	Sockets   struct{ Added, Removed []ctlSocket }  `json:"socket_changes"`
	Memory    struct {
		Bytes int64 `json:"size_change_bytes"`
	} `json:"memory_changes"`
}

type ctlProcess struct {
	PID     uint32
	Command string
}

type ctlFile struct {
	PID            uint32
	Path, Type, FD string
}

type ctlSocket struct {
	PID                   uint32
	Protocol, Type, State string
	Address, Source, Dest string
	SourcePort            uint32 `json:"src_port"`
	DestPort              uint32 `json:"dst_port"`
}

// TestCheckpointctlDiff takes the comparison of two checkpoints to tell all that
// checkpointctl's tells, and of processes that come or go, of files and of sockets no more.
func TestCheckpointctlDiff(t *testing.T) {
	b, err := os.ReadFile(checkpointData + "web-later.checkpointctl.json")
	if err != nil {
		t.Fatal(err)
	}
	var ctl ctlDiff
	if err := json.Unmarshal(b, &ctl); err != nil {
		t.Fatal(err)
	}
	want := ctl.lines()
	var got []string
	var memory int64
	gone := map[string]string{} // of processes: what is told of one that has another name now
	for line := range strings.Lines(lagan(t, "checkpoint", checkpointData+"web.tar.gz", checkpointData+"web-later.tar.gz", "--diff", "-O", "jsonl")) {
		var f struct {
			Change, What, Value string
			PID                 uint32
		}
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatal(err)
		}
		switch said := fmt.Sprintln(f.Change, f.PID, f.What, f.Value); f.What {
		case "process":
			name, _, _ := strings.Cut(f.Value, " ")
			other := map[string]string{"added": "removed", "removed": "added"}[f.Change]
			if _, ok := gone[fmt.Sprint(f.PID, other)]; ok {
				delete(gone, fmt.Sprint(f.PID, other))
				continue
			}
			gone[fmt.Sprint(f.PID, f.Change)] = fmt.Sprintln(f.Change, f.PID, "process", name)
		case "memory":
			var n int64
			if _, err := fmt.Sscanf(f.Value, "%d bytes", &n); err != nil {
				t.Fatal(err)
			}
			if f.Change == "removed" {
				n = -n
			}
			memory += n
		case "file", "cwd", "root", "socket":
			got = append(got, said)
		}
	}
	for _, line := range gone {
		got = append(got, line)
	}
	slices.Sort(got)
	if len(want) < 5 || !slices.Equal(got, want) {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(got, ""), strings.Join(want, ""))
	}
	// checkpointctl's is of the files of pages, of which that of a process that is gone is still there.
	if was := int64(20480); memory+was != ctl.Memory.Bytes {
		t.Errorf("%d bytes of memory, want %d without the process that is gone", memory, ctl.Memory.Bytes)
	}
}

// lines are the differences, each as one line.
func (d *ctlDiff) lines() (out []string) {
	for _, side := range []struct {
		change    string
		processes []ctlProcess
		files     []ctlFile
		sockets   []ctlSocket
	}{{"added", d.Processes.Added, d.Files.Added, d.Sockets.Added}, {"removed", d.Processes.Removed, d.Files.Removed, d.Sockets.Removed}} {
		for _, p := range side.processes {
			out = append(out, fmt.Sprintln(side.change, p.PID, "process", p.Command))
		}
		for _, f := range side.files {
			switch f.Type {
			case "": // a folder of the process
				out = append(out, fmt.Sprintln(side.change, f.PID, f.FD, f.Path))
			case "REG":
				out = append(out, fmt.Sprintln(side.change, f.PID, "file", f.Type, f.Path))
			} // sockets are told as sockets
		}
		for _, s := range side.sockets {
			text := fmt.Sprintf("%s %s %s:%d -> %s:%d", s.Protocol, s.State, s.Source, s.SourcePort, s.Dest, s.DestPort)
			if s.Type == "UNIX" {
				text = "unix STREAM " + strings.TrimRight(s.Address, "\x00")
			}
			out = append(out, fmt.Sprintln(side.change, s.PID, "socket", text))
		}
	}
	slices.Sort(out)
	return out
}

var columnGap = regexp.MustCompile(` {3,}`)

// ctlTable reads a table that checkpointctl printed, by its headings.
func ctlTable(t *testing.T, name string) (rows []map[string]string) {
	t.Helper()
	b, err := os.ReadFile(checkpointData + name)
	if err != nil {
		t.Fatal(err)
	}
	var at [][]int
	var heads []string
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "Listing"), strings.HasPrefix(line, "---"):
		case heads == nil:
			heads = columnGap.Split(strings.TrimSpace(line), -1)
			for _, h := range heads {
				from := strings.Index(line, h)
				if len(at) > 0 {
					at[len(at)-1][1] = from
				}
				at = append(at, []int{from, 1 << 20})
			}
		default:
			row := map[string]string{}
			for i, h := range heads {
				row[h] = strings.TrimSpace(line[min(at[i][0], len(line)):min(at[i][1], len(line))])
			}
			rows = append(rows, row)
		}
	}
	if len(rows) != 2 {
		t.Fatalf("%s: %d rows", name, len(rows))
	}
	return rows
}

// TestCheckpointctlTables compares the list of checkpoints with each row of
// checkpointctl show and checkpointctl list.
func TestCheckpointctlTables(t *testing.T) {
	var all []checkpointListed
	for line := range strings.Lines(lagan(t, "checkpoint", checkpointData+"web.tar.gz", checkpointData+"api.tar.gz", "--list", "-O", "jsonl")) {
		var c checkpointListed
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	of := func(name string) checkpointListed {
		i := slices.IndexFunc(all, func(c checkpointListed) bool { return c.Name == name })
		if i < 0 {
			t.Fatalf("no checkpoint of %s: %+v", name, all)
		}
		return all[i]
	}
	kib := func(n int64) string { return fmt.Sprintf("%.1f KiB", float64(n)/1024) }
	for _, row := range ctlTable(t, "show.checkpointctl.txt") {
		c := of(row["CONTAINER"])
		got := map[string]string{"CONTAINER": c.Name, "IMAGE": c.Image, "ID": c.ID[:12], "RUNTIME": c.Runtime, "CREATED": c.Created[:19] + "Z", "ENGINE": c.Engine,
			"CHKPT SIZE": kib(c.Size), "ROOT FS DIFF SIZE": kib(c.DiffSize)}
		sameRow(t, "show", got, row)
	}
	for _, row := range ctlTable(t, "list.checkpointctl.txt") {
		c := of(row["CONTAINER"])
		archive := "checkpoint-" + strings.TrimSuffix(filepath.Base(c.Archive), ".gz")
		got := map[string]string{"NAMESPACE": c.Namespace, "POD": c.Pod, "CONTAINER": c.Name, "ENGINE": c.Engine, "CHECKPOINT NAME": archive,
			"TIME CHECKPOINTED": c.Checkpointed[8:10] + " Nov 26 " + c.Checkpointed[11:16] + " UTC"}
		sameRow(t, "list", got, row)
	}
}

type checkpointListed struct {
	Archive, ID, Image, Runtime, Engine, Created, Checkpointed string
	Name                                                       string `json:"container_name"`
	Pod                                                        string `json:"pod_name"`
	Namespace                                                  string `json:"pod_namespace"`
	Size                                                       int64
	DiffSize                                                   int64 `json:"root_fs_diff_size"`
}

func sameRow(t *testing.T, table string, got, want map[string]string) {
	t.Helper()
	for column, w := range want {
		if got[column] != w {
			t.Errorf("%s, %s: %s is %q, want %q", table, want["CONTAINER"], column, got[column], w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d columns, want %d", table, len(got), len(want))
	}
}
