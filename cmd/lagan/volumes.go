package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"lagan/analyzer"
)

func newVolumesCommand(u *ui) *cobra.Command {
	var removed bool
	return u.list(listing{
		more: func(cmd *cobra.Command) {
			cmd.Flags().BoolVar(&removed, "removed", false, "volumes and mounting containers too that were removed, as far as traces tell of them (see recover)")
		},
		verb: verb{
			use:   "volumes EVIDENCE",
			short: "list the volumes of every runtime and pod",
			long: `List the named volumes of Docker and Podman, the volumes of pods below the kubelet's folder with the
names in them, and the folders of the node that pods mount (host-path), each with the containers that mount it.
(The volumes of the disk are in info.)
`,
			examples: `
  lagan volumes node.img.zst
  lagan volumes node.img.zst --removed
  lagan volumes node.img.zst --filter containers= --filter driver=local
  lagan ls node.img.zst @node /var/lib/docker/volumes/webdata/_data -R`,
		},
		columns: dataVolumeColumns, like: &dataVolumeRecord{},
		choose: []string{"since", "pod", "namespace"},
		records: func(n *analyzer.Node, _ *selection) ([]record, error) {
			var out []record
			list, err := append(n.DataVolumes(), n.HostVolumes()...), error(nil)
			if removed {
				list, err = n.WithRemoved(u.ctx, list)
			}
			for _, v := range list {
				out = append(out, newDataVolumeRecord(v))
			}
			return out, err
		},
	})
}

type dataVolumeRecord struct {
	Name         string            `json:"name"`
	Driver       string            `json:"driver,omitempty"`
	Runtime      string            `json:"runtime"`
	Mountpoint   string            `json:"mountpoint,omitempty"`
	Created      string            `json:"created,omitempty"`
	Anonymous    bool              `json:"anonymous,omitempty"`
	Containers   []string          `json:"containers,omitempty"`
	Removed      bool              `json:"removed,omitempty"`
	RemovedBy    []string          `json:"removed_containers,omitempty"`
	PodName      string            `json:"pod_name,omitempty"`
	PodNamespace string            `json:"pod_namespace,omitempty"`
	PodUID       string            `json:"pod_uid,omitempty"`
	Entries      []string          `json:"entries,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	Options      map[string]string `json:"options,omitempty"`
	Problem      string            `json:"problem,omitempty"`
	DataRoot     string            `json:"data_root,omitempty"`
}

func newDataVolumeRecord(v *analyzer.DataVolume) *dataVolumeRecord {
	return &dataVolumeRecord{
		Name: v.Name, Driver: v.Driver, Runtime: string(v.Runtime), Mountpoint: v.Mountpoint, Created: formatTime(v.Created), Anonymous: v.Anonymous,
		Containers: v.Containers, Removed: v.Removed, RemovedBy: v.RemovedContainers, PodName: v.Pod.Name, PodNamespace: v.Pod.Namespace, PodUID: v.Pod.UID, Entries: v.Entries, Labels: v.Labels, Options: v.Options,
		Problem: v.Problem, DataRoot: v.StorePath,
	}
}

func (r *dataVolumeRecord) traits(*analyzer.Infra) traits {
	return traits{pod: r.PodNamespace + "/" + r.PodName, podUID: r.PodUID, namespaces: []string{r.PodNamespace}, times: []string{r.Created}}
}

var dataVolumeColumns = columns{
	table: []string{"NAME", "DRIVER", "RUNTIME", "CONTAINERS", "POD", "MOUNTPOINT"},
	wide: []string{"name", "driver", "runtime", "mountpoint", "created", "anonymous", "containers", "pod_name", "pod_namespace", "pod_uid", "entries", "labels", "options",
		"problem", "data_root", "removed", "removed_containers"},
}

func (r *dataVolumeRecord) appendJSON(dst []byte) ([]byte, error) { return appendValue(dst, r) }

func (r *dataVolumeRecord) row(wide bool) []string {
	if wide {
		return []string{r.Name, r.Driver, r.Runtime, r.Mountpoint, r.Created, fmt.Sprint(r.Anonymous), joinTexts(r.Containers), r.PodName, r.PodNamespace, r.PodUID, joinTexts(r.Entries),
			joinLabels(r.Labels), joinLabels(r.Options), r.Problem, r.DataRoot, fmt.Sprint(r.Removed), joinTexts(r.RemovedBy)}
	}
	pod := firstText(r.PodName, r.PodUID)
	if r.PodNamespace != "" {
		pod = r.PodNamespace + "/" + pod
	}
	return []string{shortKey(r.Name), r.Driver, r.Runtime, fmt.Sprint(len(r.Containers) + len(r.RemovedBy)), pod, firstText(r.Mountpoint, r.Problem)}
}
