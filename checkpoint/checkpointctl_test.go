package checkpoint

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"lagan/fixtures"
)

// web and api are checkpoints whose images go-criu's encoder wrote; testdata/README.md says how.
func web(t testing.TB) []byte { return fixtures.Unpack(t, "testdata/web.tar.gz") }

func api(t testing.TB) []byte { return fixtures.Unpack(t, "testdata/api.tar.gz") }

// ctl is what checkpointctl inspect --all --format json prints.
type ctl struct {
	Name         string `json:"container_name"`
	Image        string `json:"image"`
	ID           string `json:"id"`
	Runtime      string `json:"runtime"`
	Engine       string `json:"engine"`
	Created      string `json:"created"`
	Checkpointed string `json:"checkpointed"`
	IP           string `json:"ip"`
	MAC          string `json:"mac"`
	Networks     []struct {
		Name       string `json:"name"`
		Interfaces map[string]struct {
			IP, MAC, Gateway string
		} `json:"interfaces"`
	} `json:"networks"`
	Size struct {
		Total  int64 `json:"total_size"`
		Memory int64 `json:"memory_pages_size"`
		Diff   int64 `json:"root_fs_diff_size"`
	} `json:"checkpoint_size"`
	Stats struct {
		Freezing uint64 `json:"freezing_time"`
		Frozen   uint64 `json:"frozen_time"`
		Memdump  uint64 `json:"memdump_time"`
		Memwrite uint64 `json:"memwrite_time"`
		Scanned  uint64 `json:"pages_scanned"`
		Written  uint64 `json:"pages_written"`
	} `json:"statistics"`
	Metadata struct {
		Pod         string            `json:"pod_name"`
		Namespace   string            `json:"kubernetes_namespace"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Tree  ctlProcess `json:"process_tree"`
	Files []struct {
		PID  uint32 `json:"pid"`
		Open []struct {
			Type, FD, Path string
		} `json:"open_files"`
	} `json:"file_descriptors"`
	Sockets []struct {
		PID  uint32 `json:"pid"`
		Open []struct {
			Protocol string `json:"protocol"`
			Data     struct {
				Type    string `json:"type"`
				Address string `json:"address"`
				State   string `json:"state"`
				Src     string `json:"src"`
				SrcPort uint32 `json:"src_port"`
				Dst     string `json:"dst"`
				DstPort uint32 `json:"dst_port"`
				Send    string `json:"send_buf"`
				Receive string `json:"recv_buf"`
			} `json:"data"`
		} `json:"open_sockets"`
	} `json:"sockets"`
	Mounts []Mount `json:"mounts"`
}

type ctlProcess struct {
	PID      uint32            `json:"pid"`
	Comm     string            `json:"command"`
	Cmdline  string            `json:"cmdline"`
	State    string            `json:"task_state"`
	Env      map[string]string `json:"environment_variables"`
	Children []ctlProcess      `json:"children"`
}

// TestCheckpointctl compares everything that checkpointctl says of the archives,
// as lines of text.
func TestCheckpointctl(t *testing.T) {
	for _, name := range []string{"web", "api"} {
		t.Run(name, func(t *testing.T) {
			c, err := Read(sourceOf(fixtures.Unpack(t, "testdata/"+name+".tar.gz")))
			if err != nil || len(c.Problems) > 0 {
				t.Fatal(err, c.Problems)
			}
			b, err := os.ReadFile("testdata/" + name + ".checkpointctl.json")
			if err != nil {
				t.Fatal(err)
			}
			var all []ctl
			if err := json.Unmarshal(b, &all); err != nil {
				t.Fatal(err)
			}
			w := all[0]
			states := w.Tree.State != "" // older versions tell none
			got, want := told(c, states), w.told()
			if !states { // nor annotations and networks
				got = slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, "annotation ") || strings.HasPrefix(s, "pod ") })
			}
			slices.Sort(got)
			slices.Sort(want)
			for _, s := range got {
				if !slices.Contains(want, s) {
					t.Errorf("checkpointctl doesn't tell %q", s)
				}
			}
			for _, s := range want {
				if !slices.Contains(got, s) {
					t.Errorf("it lacks %q", s)
				}
			}
			if len(got) != len(want) || len(got) < 25 {
				t.Errorf("%d lines, want %d", len(got), len(want))
			}
		})
	}
}

// told is what a checkpoint says, a line each.
func told(c *Checkpoint, states bool) []string {
	second := "2006-01-02T15:04:05Z"
	out := []string{
		fmt.Sprintln(c.Name, c.Image, c.ID, c.Runtime, c.Engine, c.Size, c.PagesSize, c.DiffSize, *c.Stats, c.IP, c.MAC),
		fmt.Sprintln("times", c.Created.Format(second), c.Checkpointed.Format(second)),
	}
	if c.Pod != "" {
		out = append(out, "pod "+c.Namespace+" "+c.Pod)
	}
	for k, v := range c.Annotations {
		out = append(out, "annotation "+k+" "+v)
	}
	for _, n := range c.Networks {
		out = append(out, fmt.Sprintln("network", n.Name, n.Interface, n.Addresses[0], n.MAC, n.Gateways[0]))
	}
	for _, m := range c.Mounts {
		out = append(out, fmt.Sprintln("mount", m.Destination, m.Type, m.Source))
	}
	for _, p := range c.Processes {
		state := ""
		if states {
			state = p.State
		}
		out = append(out, fmt.Sprintln("process", p.PID, p.PPID, p.Comm, strings.Join(p.Cmdline, " "), state))
		for _, e := range p.Env {
			out = append(out, fmt.Sprintln("env", p.PID, e))
		}
		for _, f := range p.Files {
			path := f.Path
			if f.Type != "REG" && f.Type != "PIPE" { // checkpointctl tells an id
				path = ""
			}
			out = append(out, fmt.Sprintln("file", p.PID, f.Type, f.FD, path))
		}
		if p.Cwd != "" {
			out = append(out, fmt.Sprintln("file", p.PID, "cwd", p.Cwd), fmt.Sprintln("file", p.PID, "root", p.Root))
		}
		for _, s := range p.Sockets {
			out = append(out, fmt.Sprintln("file", p.PID, s.Type, s.FD, ""))
			switch s.Type {
			case "UNIXSK":
				out = append(out, fmt.Sprintln("socket", p.PID, "unix", s.Source))
			case "INETSK":
				out = append(out, fmt.Sprintln("socket", p.PID, s.Protocol, s.State, s.Source, s.SourcePort, s.Remote, s.RemotePort, kilobytes(s.SendBuffer), kilobytes(s.ReceiveBuffer)))
			default: // it tells a number for a name
				number := map[string]string{"ALL": "3", "KOBJECT_UEVENT": "15"}[s.Protocol]
				out = append(out, fmt.Sprintln("socket", p.PID, number, kilobytes(s.SendBuffer), kilobytes(s.ReceiveBuffer)))
			}
		}
	}
	return out
}

func kilobytes(n uint32) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f KB", float64(n)/1024)
}

// told is the same of checkpointctl.
func (w *ctl) told() []string {
	out := []string{
		fmt.Sprintln(w.Name, w.Image, w.ID, w.Runtime, w.Engine, w.Size.Total, w.Size.Memory, w.Size.Diff, w.Stats, w.IP, w.MAC),
		fmt.Sprintln("times", w.Created, w.Checkpointed),
	}
	if w.Metadata.Pod != "" {
		out = append(out, "pod "+w.Metadata.Namespace+" "+w.Metadata.Pod)
	}
	for k, v := range w.Metadata.Annotations {
		out = append(out, "annotation "+k+" "+v)
	}
	for _, n := range w.Networks {
		for k, i := range n.Interfaces {
			out = append(out, fmt.Sprintln("network", n.Name, k, i.IP, i.MAC, i.Gateway))
		}
	}
	for _, m := range w.Mounts {
		out = append(out, fmt.Sprintln("mount", m.Destination, m.Type, m.Source))
	}
	out = w.Tree.told(out, 0)
	for _, f := range w.Files {
		for _, o := range f.Open {
			path := o.Path
			if o.Type != "REG" && o.Type != "PIPE" && o.Type != "" {
				path = ""
			}
			out = append(out, fmt.Sprintln("file", f.PID, o.FD, path)) // the descriptor as "REG 1"
		}
	}
	for _, s := range w.Sockets {
		for _, o := range s.Open {
			switch d := o.Data; {
			case d.Type == "UNIX":
				name := strings.TrimRight(d.Address, "\x00")
				if strings.HasPrefix(name, "\x00") {
					name = "@" + name[1:]
				}
				out = append(out, fmt.Sprintln("socket", s.PID, "unix", name))
			case d.Type == "":
				out = append(out, fmt.Sprintln("socket", s.PID, o.Protocol, d.Send, d.Receive))
			default:
				out = append(out, fmt.Sprintln("socket", s.PID, o.Protocol, d.State, d.Src, d.SrcPort, d.Dst, d.DstPort, d.Send, d.Receive))
			}
		}
	}
	return out
}

func (p *ctlProcess) told(out []string, parent uint32) []string {
	out = append(out, fmt.Sprintln("process", p.PID, parent, p.Comm, strings.TrimSuffix(p.Cmdline, " "), strings.ToLower(p.State)))
	for k, v := range p.Env {
		out = append(out, fmt.Sprintln("env", p.PID, k+"="+v))
	}
	for i := range p.Children {
		out = p.Children[i].told(out, p.PID)
	}
	return out
}
