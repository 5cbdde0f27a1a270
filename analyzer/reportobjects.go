package analyzer

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/findings"
	"lagan/report"
	"lagan/runtimes"
)

func (r *reporter) disks(ctx context.Context, noHash bool) error {
	for _, e := range r.n.Evidence {
		d := report.Disk{Name: report.Text(e.Name), Format: e.Format, Size: max(e.Size, 0)}
		if e.image != nil && !noHash {
			h, err := r.n.Hash(ctx, e)
			if err != nil {
				if ctx.Err() != nil {
					return err
				}
				r.n.gap(0, e.Name, err)
			}
			d.SHA256, d.SHA1, d.MD5 = h.SHA256, h.SHA1, h.MD5
		}
		r.data.Evidence = append(r.data.Evidence, d)
	}
	return nil
}

// system fills in the node, its volumes and runtimes.
func (r *reporter) system() {
	d, s := &r.data, r.n.System()
	d.System = report.System{
		Hostname: report.Text(s.Hostname), OS: report.Text(s.OS), MachineID: report.Text(s.MachineID), Kubernetes: report.Text(s.Kubernetes),
		NodeName: report.Text(s.NodeName), Cluster: report.Text(s.Cluster), Server: report.Text(s.Server),
	}
	d.Volumes, d.Runtimes = []report.Volume{}, []report.Runtime{}
	for _, v := range r.n.Volumes {
		part := v.Scheme
		if v.Number > 0 {
			part = strings.TrimSpace(fmt.Sprintf("%s %d %s", v.Scheme, v.Number, v.PartName))
		}
		d.Volumes = append(d.Volumes, report.Volume{
			Index: v.Index, Partition: report.Text(part), Start: v.Start, Size: v.Size, Content: report.Text(v.Content), UUID: v.Description.UUID, MountedAt: report.Text(v.MountPoint),
			Journal: journalText(&v.Description.Journal), Created: reportTime(v.Description.Created),
		})
	}
	for _, s := range r.n.Summaries() {
		d.Runtimes = append(d.Runtimes, report.Runtime{Name: string(s.Runtime), Path: report.Text(s.Path), Found: string(s.Found), Containers: s.Containers, Sandboxes: s.Sandboxes, Images: s.Images})
	}
}

func journalText(j *evidence.Journal) string {
	if j.Transactions == 0 {
		return string(j.State)
	}
	return fmt.Sprintf("%s: %d transactions", j.State, j.Transactions)
}

// findings fills in what was found, as much evidence of each as the page can hold.
func (r *reporter) findings(all []*findings.Finding) {
	d := &r.data
	d.Findings, d.Counts.Findings = []findings.Record{}, map[string]int{}
	rows := 0
	for _, f := range all {
		x := f.Record()
		keep := min(len(x.Evidence), maxOwnEvidence, max(maxEvidenceRows-rows, 3))
		if keep < len(x.Evidence) {
			r.lost["pieces of evidence"] += len(x.Evidence) - keep
		}
		x.Evidence = x.Evidence[:keep]
		rows += keep
		for i := range x.Evidence {
			x.Evidence[i].Value = shorten(x.Evidence[i].Value)
		}
		d.Findings = append(d.Findings, x)
		d.Counts.Findings[x.Severity]++
	}
}

// containers fills in all containers, with the findings that are about them.
func (r *reporter) containers(all []*findings.Finding) {
	d := &r.data
	d.Containers = []report.Container{}
	about := make(map[int][]int)
	for k, f := range all {
		seen := make(map[int]bool)
		for i := range f.Evidence {
			if e := &f.Evidence[i]; e.Container != nil {
				if at, ok := r.index[e.Container.ID]; ok && !seen[at] {
					seen[at] = true
					about[at] = append(about[at], k)
				}
			}
		}
	}
	for i, c := range r.n.Containers() {
		out := report.Container{
			ID: report.Text(c.ID), Name: report.Text(c.DisplayName()), Kind: string(c.Kind), Runtime: string(c.Runtime), Namespace: report.Text(c.Namespace), State: string(c.State), ExitCode: c.ExitCode,
			Image: report.Text(c.Image), Command: shorten(report.Text(strings.Join(c.Command, " "))), Created: reportTime(c.Created), Started: reportTime(c.Started), Finished: reportTime(c.Finished),
			Privileged: c.Privileged, Findings: about[i],
		}
		if f := about[i]; len(f) > 0 {
			out.Severity = all[f[0]].Severity.String() // the severest come first
		}
		if ch := r.changed[i]; ch != nil {
			for _, p := range ch.Paths {
				switch p.Kind {
				case "added":
					out.Added++
				case "deleted", "opaque":
					out.Deleted++
				default:
					out.Modified++
				}
			}
		}
		if c.Kind == runtimes.KindSandbox {
			d.Counts.Sandboxes++
		} else {
			d.Counts.Containers++
		}
		d.Containers = append(d.Containers, out)
	}
}

func (r *reporter) pods() {
	d := &r.data
	d.Pods = []report.Pod{}
	at := make(map[*Container]int)
	for i, c := range r.n.Containers() {
		at[c] = i
	}
	for _, p := range r.n.Pods() {
		out := report.Pod{Namespace: report.Text(p.Namespace), Name: report.Text(p.Name), UID: report.Text(p.UID), State: string(p.State), Found: p.Found, Containers: []int{}}
		known := make(map[string]bool)
		for _, c := range append(slices.Clone(p.Containers), p.Sandboxes...) {
			known[c.Pod.Container] = true
			if i, ok := at[c]; ok {
				out.Containers = append(out.Containers, i)
			}
		}
		for _, name := range p.Names {
			if !known[name] && name != "" {
				out.Gone = append(out.Gone, report.Text(name))
			}
		}
		d.Pods = append(d.Pods, out)
	}
	d.Counts.Pods = len(d.Pods)
}

func (r *reporter) images() {
	r.data.Images = []report.Image{}
	for _, i := range r.n.Images() {
		var names []string
		for _, name := range i.Names {
			names = append(names, report.Text(name))
		}
		r.data.Images = append(r.data.Images, report.Image{
			ID: report.Text(i.ID), Names: names, Digest: report.Text(i.Digest), Runtime: string(i.Runtime), Created: reportTime(i.Created), Size: max(i.Size, 0), Containers: len(i.Containers),
		})
	}
	r.data.Counts.Images = len(r.data.Images)
}

func (r *reporter) gaps() {
	d := &r.data
	d.Gaps = []report.Gap{}
	all := r.n.Gaps()
	for _, g := range all[:min(len(all), maxReportGaps)] {
		d.Gaps = append(d.Gaps, report.Gap{Object: report.Text(g.Object), Message: report.Text(g.Message)})
	}
	if more := len(all) - len(d.Gaps); more > 0 {
		r.lost["things that could not be read"] = more
	}
	for _, what := range slices.Sorted(maps.Keys(r.lost)) {
		d.Cut = append(d.Cut, fmt.Sprintf("%d %s; lagan's other commands tell all of them.", r.lost[what], what))
	}
}
