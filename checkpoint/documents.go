package checkpoint

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"lagan/evidence"
)

// config is what is read of config.dump: libpod's container configuration, as
// CRI-O and containerd write it too.
type config struct {
	ID, Name        string
	RootfsImage     string    `json:"rootfsImage"`
	RootfsImageRef  string    `json:"rootfsImageRef"`
	RootfsImageName string    `json:"rootfsImageName"`
	Runtime         string    `json:"runtime"`
	CreatedTime     time.Time `json:"createdTime"`
	Checkpointed    time.Time `json:"checkpointedTime"`
}

type spec struct {
	Annotations map[string]string `json:"annotations"`
	Process     struct {
		Args []string `json:"args"`
	} `json:"process"`
	Mounts []Mount `json:"mounts"`
}

// documents reads the JSON documents.
func (a *archive) documents() {
	c := a.c
	var cfg config
	a.json("config.dump", &cfg)
	c.ID, c.Name, c.Runtime = cfg.ID, cfg.Name, cfg.Runtime
	c.Image, c.ImageRef = first(cfg.RootfsImageName, cfg.RootfsImage), first(cfg.RootfsImageRef, cfg.RootfsImage)
	c.Created, c.Checkpointed = known(cfg.CreatedTime), known(cfg.Checkpointed)
	var s spec
	a.json("spec.dump", &s)
	c.Annotations, c.Command, c.Mounts = s.Annotations, s.Process.Args, s.Mounts
	a.json("deleted.files", &c.Deleted)
	switch manager := s.Annotations["io.container.manager"]; manager {
	case "libpod":
		c.Engine = "Podman"
	case "cri-o":
		a.crio(s.Annotations)
	default:
		if s.Annotations["io.kubernetes.cri.container-name"] != "" || s.Annotations["io.kubernetes.cri.sandbox-id"] != "" {
			c.Engine = "containerd"
			c.Name = first(s.Annotations["io.kubernetes.cri.container-name"], c.Name)
			c.Pod, c.Namespace = s.Annotations["io.kubernetes.cri.sandbox-name"], s.Annotations["io.kubernetes.cri.sandbox-namespace"]
		}
	}
	a.network()
	for e, err := range entries(a.files["stats-dump"], magicStats) {
		if a.files["stats-dump"] == nil {
			break
		}
		if err != nil {
			a.problem("stats-dump", err)
			break
		}
		if d, err := e.sub(statsDump); err == nil && e.has(statsDump) {
			c.Stats = &Stats{d.num(dumpFreezing), d.num(dumpFrozen), d.num(dumpMemdump), d.num(dumpMemwrite), d.num(dumpScanned), d.num(dumpWritten)}
		}
	}
}

func (a *archive) crio(an map[string]string) {
	c := a.c
	c.Engine = "CRI-O"
	var meta struct {
		Name string `json:"name"`
	}
	if json.Unmarshal([]byte(an["io.kubernetes.cri-o.Metadata"]), &meta) == nil {
		c.Name = first(meta.Name, c.Name)
	}
	c.Pod, c.Namespace, c.IP = an["io.kubernetes.pod.name"], an["io.kubernetes.pod.namespace"], an["io.kubernetes.cri-o.IP.0"]
	if t, err := time.Parse(time.RFC3339Nano, an["io.kubernetes.cri-o.Created"]); err == nil {
		c.Created = t.UTC()
	}
}

// network reads Podman's network.status, netavark's or CNI's: the networks by their
// names, or a list of them.
func (a *archive) network() {
	b := a.files["network.status"]
	if b == nil || a.c.IP != "" {
		return
	}
	byName := make(map[string]networkStatus)
	if json.Unmarshal(b, &byName) != nil {
		var list []networkStatus
		a.json("network.status", &list)
		for i, n := range list {
			byName[fmt.Sprintf("%d", i)] = n
		}
	}
	var addresses, macs []string
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		interfaces := byName[name].Interfaces
		for _, i := range slices.Sorted(maps.Keys(interfaces)) {
			n := Network{Name: name, Interface: i, MAC: interfaces[i].MAC}
			for _, s := range interfaces[i].Subnets {
				if ip, _, _ := strings.Cut(s.IPNet, "/"); ip != "" {
					n.Addresses, addresses = append(n.Addresses, s.IPNet), append(addresses, ip)
				}
				if s.Gateway != "" {
					n.Gateways = append(n.Gateways, s.Gateway)
				}
			}
			if n.MAC != "" {
				macs = append(macs, n.MAC)
			}
			if len(a.c.Networks) >= maxNetworks {
				a.problem("network.status", fmt.Errorf("more than %d interfaces: %w", maxNetworks, evidence.ErrUnsupported))
				break
			}
			a.c.Networks = append(a.c.Networks, n)
		}
	}
	a.c.IP, a.c.MAC = strings.Join(addresses, ", "), strings.Join(macs, ", ")
}

// maxNetworks bounds the interfaces of a container.
const maxNetworks = 10_000

type networkStatus struct {
	Interfaces map[string]struct {
		Subnets []struct {
			IPNet   string `json:"ipnet"`
			Gateway string `json:"gateway"`
		} `json:"subnets"`
		MAC string `json:"mac_address"`
	} `json:"interfaces"`
}

func (a *archive) json(name string, v any) {
	if b := a.files[name]; b != nil {
		if err := json.Unmarshal(b, v); err != nil {
			a.problem(name, fmt.Errorf("%w: %w", err, evidence.ErrCorrupt))
		}
	}
}

func known(t time.Time) time.Time {
	if t.Year() <= 1 {
		return time.Time{}
	}
	return t.UTC()
}
