package docker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/boltdb"
	"lagan/runtimes/oci"
)

// The store of libnetwork: daemon/libnetwork/internal/kvstore/boltdb/boltdb.go.
// A value is an index of 8 bytes and a JSON document; a key is
// docker/network/v1.0/<kind>/<ids>/.
const (
	networkDB     = "network/files/local-kv.db"
	networkBucket = "libnetwork"
	networkPrefix = "docker/network/v1.0/"
	indexSize     = 8

	kindNetwork        = "network"
	kindEndpoint       = "endpoint"
	kindSandbox        = "sandbox"
	kindBridge         = "bridge"
	kindBridgeEndpoint = "bridge-endpoint"
)

// networkJSON is daemon/libnetwork/network.go, MarshalJSON. The IPAM members are texts of JSON.
type networkJSON struct {
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Created    string            `json:"created"`
	Driver     string            `json:"networkType"`
	Scope      string            `json:"scope"`
	Labels     map[string]string `json:"labels"`
	Internal   bool              `json:"internal"`
	Attachable bool              `json:"attachable"`
	Ingress    bool              `json:"ingress"`
	IPv6       bool              `json:"enableIPv6"`
	V4Config   string            `json:"ipamV4Config"`
	V6Config   string            `json:"ipamV6Config"`
	V4Info     string            `json:"ipamV4Info"`
	V6Info     string            `json:"ipamV6Info"`
	Generic    map[string]json.RawMessage
}

// optionsKey holds a driver's options in networkJSON.Generic: daemon/libnetwork/netlabel/labels.go.
const optionsKey = "com.docker.network.generic"

// endpointJSON is daemon/libnetwork/endpoint.go, MarshalJSON, and endpoint_info.go.
type endpointJSON struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Sandbox   string `json:"sandbox"`
	Interface struct {
		MAC    string `json:"mac"`
		Addr   string `json:"addr"`
		Addr6  string `json:"addrv6"`
		Source string `json:"srcName"`
	} `json:"ep_iface"`
	Exposed []portJSON `json:"exposed_ports"`
	Aliases []string   `json:"myAliases"`
	Join    struct {
		Gateway string `json:"gw"`
	} `json:"joinInfo"`
}

type portJSON struct {
	Proto    int
	Port     int
	HostIP   string
	HostPort int
}

// sandboxJSON is daemon/libnetwork/sandbox_store.go, sbState.
type sandboxJSON struct {
	ID  string
	Cid string // the container
}

// networkState is what is read of the database.
type networkState struct {
	networks   []networkJSON
	endpoints  map[string][]endpointJSON // by network
	containers map[string]string         // by sandbox
	bridges    map[string]string         // by network: the interface's name
	mapped     map[string][]portJSON     // by endpoint: what the bridge driver published
}

// Networks yields the networks with their endpoints, by name.
func (s *Store) Networks() iter.Seq2[runtimes.Network, error] {
	return func(yield func(runtimes.Network, error) bool) {
		file := join(s.root, networkDB)
		st, err := s.networkState(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			if !yield(runtimes.Network{}, fmt.Errorf("%s: %w", file, err)) {
				return
			}
		}
		if st == nil {
			return
		}
		for i := range st.networks {
			out, err := s.network(st, &st.networks[i], file)
			if !yield(out, nil) || err != nil && !yield(runtimes.Network{}, err) {
				return
			}
		}
	}
}

func (s *Store) networkState(file string) (*networkState, error) {
	st := &networkState{endpoints: make(map[string][]endpointJSON), containers: make(map[string]string),
		bridges: make(map[string]string), mapped: make(map[string][]portJSON)}
	var failed []error
	values, err := s.bolt(file, networkBucket, func(err error) { failed = append(failed, err) })
	if values == nil {
		return nil, err
	}
	for _, kv := range values {
		rest, ok := strings.CutPrefix(kv.key, networkPrefix)
		if !ok || len(kv.value) <= indexSize {
			continue // counters, and keys of other versions
		}
		kind, ids, _ := strings.Cut(strings.TrimSuffix(rest, "/"), "/")
		if err := st.take(kind, ids, kv.value[indexSize:]); err != nil {
			failed = append(failed, fmt.Errorf("%q: %w", kv.key, err))
		}
	}
	slices.SortFunc(st.networks, func(a, b networkJSON) int { return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID) })
	return st, errors.Join(failed...)
}

// take sorts one document in. What decodes in part is used.
func (st *networkState) take(kind, ids string, raw []byte) error {
	switch kind {
	case kindNetwork:
		n := networkJSON{ID: ids}
		err := oci.Decode(raw, &n)
		st.networks = append(st.networks, n)
		return err
	case kindEndpoint:
		network, id, _ := strings.Cut(ids, "/")
		e := endpointJSON{ID: id}
		err := oci.Decode(raw, &e)
		st.endpoints[network] = append(st.endpoints[network], e)
		return err
	case kindSandbox:
		var sb sandboxJSON
		err := oci.Decode(raw, &sb)
		st.containers[sb.ID] = sb.Cid
		return err
	case kindBridge:
		var b struct{ BridgeName string }
		err := oci.Decode(raw, &b)
		st.bridges[ids] = b.BridgeName
		return err
	case kindBridgeEndpoint:
		var b struct{ PortMapping []portJSON }
		err := oci.Decode(raw, &b)
		st.mapped[ids] = b.PortMapping
		return err
	}
	return nil
}

func (s *Store) network(st *networkState, n *networkJSON, file string) (runtimes.Network, error) {
	out := runtimes.Network{
		Runtime: runtimes.Docker, StorePath: s.root, ID: n.ID, Name: n.Name, Driver: n.Driver, Scope: n.Scope,
		Interface: st.bridges[n.ID], Created: oci.Time(n.Created), Internal: n.Internal, Attachable: n.Attachable,
		Ingress: n.Ingress, IPv6: n.IPv6, Labels: n.Labels, File: file,
	}
	var failed []error
	if raw := n.Generic[optionsKey]; len(raw) > 0 {
		failed = append(failed, oci.Decode(raw, &out.Options))
	}
	for _, ipam := range [][2]string{{n.V4Config, n.V4Info}, {n.V6Config, n.V6Info}} {
		subnets, err := subnetsOf(ipam[0], ipam[1])
		out.Subnets = append(out.Subnets, subnets...)
		failed = append(failed, err)
	}
	for _, e := range st.endpoints[n.ID] {
		out.Endpoints = append(out.Endpoints, st.endpoint(&e))
	}
	if err := errors.Join(failed...); err != nil {
		return out, fmt.Errorf("%s: network %q: %w", file, n.ID, err)
	}
	return out, nil
}

// subnetsOf reads the ranges that were asked for and those that were given out.
// Where no range was asked for, the second tells it: daemon/libnetwork/driverapi/ipamdata.go.
func subnetsOf(config, info string) ([]runtimes.Subnet, error) {
	var asked []struct{ PreferredPool, SubPool, Gateway string }
	var given []struct{ IPAMData string }
	var failed []error
	if config != "" {
		failed = append(failed, oci.Decode([]byte(config), &asked))
	}
	if info != "" {
		failed = append(failed, oci.Decode([]byte(info), &given))
	}
	var out []runtimes.Subnet
	for i := range max(len(asked), len(given)) {
		var s runtimes.Subnet
		if i < len(asked) {
			s = runtimes.Subnet{Subnet: asked[i].PreferredPool, Gateway: asked[i].Gateway, Range: asked[i].SubPool}
		}
		if i < len(given) {
			var data struct{ Pool, Gateway string }
			failed = append(failed, oci.Decode([]byte(given[i].IPAMData), &data))
			if s.Subnet == "" {
				s.Subnet = data.Pool
			}
			if s.Gateway == "" {
				s.Gateway, _, _ = strings.Cut(data.Gateway, "/")
			}
		}
		if s.Subnet != "" {
			out = append(out, s)
		}
	}
	return out, errors.Join(failed...)
}

// protocols by number: IANA, Assigned Internet Protocol Numbers.
var protocols = map[int]string{6: "tcp", 17: "udp", 132: "sctp"}

func (st *networkState) endpoint(e *endpointJSON) runtimes.Endpoint {
	out := runtimes.Endpoint{ID: e.ID, Name: e.Name, Container: st.containers[e.Sandbox], Interface: e.Interface.Source,
		MAC: e.Interface.MAC, Gateway: e.Join.Gateway, Aliases: e.Aliases}
	for _, a := range []string{e.Interface.Addr, e.Interface.Addr6} {
		if a != "" {
			out.Addresses = append(out.Addresses, a)
		}
	}
	published := make(map[int]bool)
	for _, p := range st.mapped[e.ID] {
		published[p.Port] = true
		out.Ports = append(out.Ports, runtimes.Port{HostIP: p.HostIP, HostPort: p.HostPort, ContainerPort: p.Port, Protocol: protocols[p.Proto]})
	}
	for _, p := range e.Exposed {
		if !published[p.Port] {
			out.Ports = append(out.Ports, runtimes.Port{ContainerPort: p.Port, Protocol: protocols[p.Proto]})
		}
	}
	return out
}

// portsOf reads the ports of a container from its two documents: what was asked
// for ("80/tcp": [{HostIp, HostPort}]), what is declared ({"80/tcp": {}}).
func portsOf(bound map[string][]portBinding, declared map[string]struct{}) []runtimes.Port {
	var out []runtimes.Port
	all := make(map[string]bool)
	for p := range bound {
		all[p] = true
	}
	for p := range declared {
		all[p] = true
	}
	for _, name := range sortedPorts(all) {
		number, protocol, _ := strings.Cut(name, "/")
		port := runtimes.Port{Protocol: protocol}
		port.ContainerPort, _ = strconv.Atoi(number)
		if len(bound[name]) == 0 {
			out = append(out, port)
		}
		for _, b := range bound[name] {
			p := port
			p.HostPort, _ = strconv.Atoi(b.HostPort) // empty: one was chosen at the start
			if a, err := netip.ParseAddr(b.HostIP); err == nil {
				p.HostIP = a.String()
			}
			out = append(out, p)
		}
	}
	return out
}

type portBinding struct {
	HostIP   string `json:"HostIp"`
	HostPort string
}

// sortedPorts sorts "80/tcp" by number.
func sortedPorts(all map[string]bool) []string {
	var out []string
	for p := range all {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b string) int {
		x, _, _ := strings.Cut(a, "/")
		y, _, _ := strings.Cut(b, "/")
		if len(x) != len(y) {
			return len(x) - len(y)
		}
		return strings.Compare(a, b)
	})
	return out
}

// keyValue is one key of a bolt file's bucket.
type keyValue struct {
	key   string
	value []byte
}

// openBolt opens a database of the store.
func (s *Store) openBolt(file string, problem func(error)) (*boltdb.DB, error) {
	ino, err := evidence.Resolve(s.fsys, s.node, file, true)
	if err != nil {
		return nil, err
	}
	r, err := s.fsys.Open(ino)
	if err != nil {
		return nil, fmt.Errorf("opening: %w", err)
	}
	return boltdb.Open(r, r.Size(), problem)
}

// bolt reads the values of one bucket, nil where the file isn't there.
func (s *Store) bolt(file, bucket string, problem func(error)) ([]keyValue, error) {
	db, err := s.openBolt(file, problem)
	if err != nil {
		return nil, err
	}
	out := []keyValue{}
	b, err := db.Bucket(bucket)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && db.Damaged() == 0 {
			return out, nil
		}
		return nil, err
	}
	for kv, err := range b.All() {
		if err == nil && kv.IsBucket() {
			continue
		}
		var v []byte
		if err == nil {
			v, err = kv.Value()
		}
		if err != nil {
			problem(err)
			continue
		}
		out = append(out, keyValue{string(kv.Key), v})
	}
	return out, nil
}
