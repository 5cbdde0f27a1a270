package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/runtimes"
)

func newNetworksCommand(u *ui) *cobra.Command {
	return u.list(listing{
		verb: verb{
			use:   "networks EVIDENCE",
			short: "list the networks of every runtime, with what is connected",
			long:  "List the networks of Docker, Podman and CNI with their ranges, and the containers that are connected, with addresses and ports.\n",
			examples: `
  lagan networks node.img.zst
  lagan networks node.img.zst --filter endpoints.addresses=10.0.12.3/24 --output json`,
		},
		columns: networkColumns, like: &networkRecord{},
		choose: []string{"since"},
		records: func(n *analyzer.Node, _ *selection) ([]record, error) {
			var out []record
			for _, v := range n.Networks() {
				out = append(out, newNetworkRecord(v))
			}
			return out, nil
		},
	})
}

type networkRecord struct {
	ID         string              `json:"id,omitempty"`
	Name       string              `json:"name"`
	Driver     string              `json:"driver,omitempty"`
	Runtime    string              `json:"runtime"`
	Scope      string              `json:"scope,omitempty"`
	Interface  string              `json:"interface,omitempty"`
	Created    string              `json:"created,omitempty"`
	Internal   bool                `json:"internal"`
	Attachable bool                `json:"attachable,omitempty"`
	Ingress    bool                `json:"ingress,omitempty"`
	IPv6       bool                `json:"ipv6,omitempty"`
	Subnets    []runtimes.Subnet   `json:"subnets,omitempty"`
	Endpoints  []runtimes.Endpoint `json:"endpoints,omitempty"`
	Labels     map[string]string   `json:"labels,omitempty"`
	Options    map[string]string   `json:"options,omitempty"`
	File       string              `json:"file,omitempty"`
	DataRoot   string              `json:"data_root,omitempty"`
}

func newNetworkRecord(v *analyzer.Network) *networkRecord {
	return &networkRecord{
		ID: v.ID, Name: v.Name, Driver: v.Driver, Runtime: string(v.Runtime), Scope: v.Scope, Interface: v.Interface, Created: formatTime(v.Created),
		Internal: v.Internal, Attachable: v.Attachable, Ingress: v.Ingress, IPv6: v.IPv6, Subnets: v.Subnets, Endpoints: v.Endpoints,
		Labels: v.Labels, Options: v.Options, File: v.File, DataRoot: v.StorePath,
	}
}

func (r *networkRecord) traits(*analyzer.Infra) traits { return traits{times: []string{r.Created}} }

var networkColumns = columns{
	table: []string{"ID", "NAME", "DRIVER", "RUNTIME", "SUBNETS", "ENDPOINTS", "CREATED"},
	wide: []string{"id", "name", "driver", "runtime", "scope", "interface", "created", "internal", "attachable", "ingress", "ipv6", "subnets", "endpoints",
		"labels", "options", "file", "data_root"},
}

func (r *networkRecord) appendJSON(dst []byte) ([]byte, error) { return appendValue(dst, r) }

func (r *networkRecord) row(wide bool) []string {
	var subnets, endpoints []string
	for _, s := range r.Subnets {
		subnets = append(subnets, s.Subnet)
	}
	for _, e := range r.Endpoints {
		endpoints = append(endpoints, firstText(e.Name, e.Container)+"="+strings.Join(e.Addresses, "+"))
	}
	if wide {
		return []string{r.ID, r.Name, r.Driver, r.Runtime, r.Scope, r.Interface, r.Created, fmt.Sprint(r.Internal), fmt.Sprint(r.Attachable), fmt.Sprint(r.Ingress),
			fmt.Sprint(r.IPv6), joinTexts(subnets), joinTexts(endpoints), joinLabels(r.Labels), joinLabels(r.Options), r.File, r.DataRoot}
	}
	return []string{shortKey(r.ID), r.Name, r.Driver, r.Runtime, strings.Join(subnets, ","), fmt.Sprint(len(r.Endpoints)), shortTime(r.Created)}
}
