package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"lagan/evidence"
	"lagan/internal/sqlite"
	"lagan/runtimes/boltdb"
	"lagan/runtimes/oci"
)

// libpod is Podman's own state: the documents of containers and pods by id.
type libpod struct {
	containers map[string]documents
	order      []string
	pods       map[string]documents
	volumes    map[string]documents
}

// documents are the two JSON texts that Podman keeps of an object.
type documents struct{ config, state []byte }

// containerConfig is what is read of a container's configuration: libpod/container_config.go.
type containerConfig struct {
	ID              string                `json:"id"`
	Name            string                `json:"name"`
	Pod             string                `json:"pod"`
	Spec            json.RawMessage       `json:"spec"`
	RootfsImageID   string                `json:"rootfsImageID"`
	RootfsImageName string                `json:"rootfsImageName"`
	Rootfs          string                `json:"rootfs"`
	Privileged      bool                  `json:"privileged"`
	Labels          map[string]string     `json:"labels"`
	CreatedTime     string                `json:"createdTime"`
	LogPath         string                `json:"logPath"`
	LogDriver       string                `json:"logDriver"`
	StaticDir       string                `json:"staticDir"`
	IsInfra         bool                  `json:"pause"`
	CreateCommand   []string              `json:"CreateCommand"`
	HealthLogs      string                `json:"healthLogDestination"`
	Secrets         []secretJSON          `json:"secrets"`
	SecretEnv       map[string]secretJSON `json:"secret_env"`
	Ports           []portMapping         `json:"newPortMappings"`
	NamedVolumes    []struct {
		Name    string   `json:"volumeName"`
		Dest    string   `json:"dest"`
		Options []string `json:"options"`
	} `json:"namedVolumes"`
}

// portMapping is containers/common libnetwork/types/network.go, PortMapping.
type portMapping struct {
	HostIP        string `json:"host_ip"`
	ContainerPort int    `json:"container_port"`
	HostPort      int    `json:"host_port"`
	Range         int    `json:"range"`
	Protocol      string `json:"protocol"` // several are joined by commas
}

// containerState is what is read of a container's state: libpod/container.go.
type containerState struct {
	State        int             `json:"state"`
	StartedTime  string          `json:"startedTime"`
	FinishedTime string          `json:"finishedTime"`
	ExitCode     int             `json:"exitCode"`
	OOMKilled    bool            `json:"oomKilled"`
	PID          int             `json:"pid"`
	Error        string          `json:"error"`
	RestartCount int             `json:"restartCount"`
	Network      json.RawMessage `json:"networkStatus"`
}

// Numbers of states: libpod/define/containerstate.go.
const (
	stateConfigured = 1
	stateCreated    = 2
	stateRunning    = 3
	stateStopped    = 4
	statePaused     = 5
	stateExited     = 6
	stateRemoving   = 7
	stateStopping   = 8
)

// podConfig is what is read of a pod's configuration: libpod/pod.go.
type podConfig struct {
	ID      string            `json:"id"`
	Name    string            `json:"name"`
	Created string            `json:"created"`
	Labels  map[string]string `json:"labels"`
}

// volumeConfig is what is read of a volume's configuration: libpod/volume.go.
type volumeConfig struct {
	Name       string            `json:"name"`
	Labels     map[string]string `json:"labels"`
	Driver     string            `json:"volumeDriver"`
	MountPoint string            `json:"mountPoint"`
	Created    string            `json:"createdAt"`
	Options    map[string]string `json:"volumeOptions"`
	Anonymous  bool              `json:"isAnon"`
}

// openLibpod reads Podman's state, nil where there is none. Where both
// databases are there, the SQLite one is in use.
func (s *Store) openLibpod() *libpod {
	for _, name := range []string{sqliteState, "libpod/" + sqliteState} {
		l, err := s.readSQLite(join(s.root, name))
		if l == nil && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		s.problem(err)
		return l
	}
	for _, name := range []string{boltState, boltStateOld} {
		l, err := s.readBolt(join(s.root, name))
		if l == nil && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		s.problem(err)
		return l
	}
	return nil
}

// open returns a file, nil where it isn't there.
func (s *Store) open(name string) (*io.SectionReader, error) {
	ino, err := evidence.Resolve(s.fsys, s.node, name, true)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return s.fsys.Open(ino)
}

// readSQLite reads db.sql with its log or journal: libpod/sqlite_state_internal.go.
func (s *Store) readSQLite(name string) (*libpod, error) {
	l := &libpod{containers: make(map[string]documents), pods: make(map[string]documents), volumes: make(map[string]documents)}
	main, err := s.open(name)
	if main == nil && err == nil {
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return l, fmt.Errorf("opening %s: %w", name, err)
	}
	var beside [2]sqlite.File
	for i, suffix := range []string{"-wal", "-journal"} {
		f, err := s.open(name + suffix)
		s.problem(err)
		if f != nil {
			beside[i] = f
		}
	}
	db, err := sqlite.Open(main, beside[0], beside[1], func(err error) { s.problem(fmt.Errorf("%s: %w", name, err)) })
	if err != nil {
		return l, fmt.Errorf("%s: %w", name, err)
	}
	var failed []error
	configs := func(table, key string, into map[string]documents, met func(string)) {
		for row, err := range db.Rows(table) {
			if err != nil {
				if table != "VolumeConfig" || !errors.Is(err, fs.ErrNotExist) {
					failed = append(failed, err)
				}
				continue
			}
			into[row.Text(key)] = documents{config: []byte(row.Text("JSON"))}
			met(row.Text(key))
		}
	}
	configs("ContainerConfig", "ID", l.containers, func(id string) { l.order = append(l.order, id) })
	configs("PodConfig", "ID", l.pods, func(string) {})
	configs("VolumeConfig", "Name", l.volumes, func(string) {})
	for row, err := range db.Rows("ContainerState") {
		if err != nil {
			failed = append(failed, err)
			continue
		}
		d := l.containers[row.Text("ID")]
		d.state = []byte(row.Text("JSON"))
		l.containers[row.Text("ID")] = d
	}
	if err := errors.Join(failed...); err != nil {
		return l, fmt.Errorf("%s: %w", name, errors.Join(err, evidence.ErrCorrupt))
	}
	return l, nil
}

// readBolt reads bolt_state.db.
func (s *Store) readBolt(name string) (*libpod, error) {
	ino, err := evidence.Resolve(s.fsys, s.node, name, true)
	if err != nil {
		return nil, err
	}
	l := &libpod{containers: make(map[string]documents), pods: make(map[string]documents), volumes: make(map[string]documents)}
	r, err := s.fsys.Open(ino)
	if err != nil {
		return l, fmt.Errorf("opening %s: %w", name, errors.Join(err, evidence.ErrCorrupt))
	}
	db, err := boltdb.Open(r, r.Size(), func(err error) { s.problem(fmt.Errorf("%s: %w", name, err)) })
	if err != nil {
		return l, fmt.Errorf("%s: %w", name, err)
	}
	var failed []error
	failed = append(failed, readDocuments(db, bucketContainers, func(id string, d documents) {
		l.containers[id] = d
		l.order = append(l.order, id)
	}))
	failed = append(failed, readDocuments(db, bucketPods, func(id string, d documents) { l.pods[id] = d }))
	failed = append(failed, readDocuments(db, bucketVolumes, func(name string, d documents) { l.volumes[name] = d }))
	if err := errors.Join(failed...); err != nil {
		return l, fmt.Errorf("%s: %w", name, err)
	}
	return l, nil
}

// readDocuments reads the config and state of every object in a bucket.
func readDocuments(db *boltdb.DB, bucket string, add func(string, documents)) error {
	all, err := db.Bucket(bucket)
	if errors.Is(err, fs.ErrNotExist) && db.Damaged() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	var failed []error
	for kv, err := range all.All() {
		if err == nil && !kv.IsBucket() {
			continue
		}
		var b *boltdb.Bucket
		if err == nil {
			b, err = kv.Bucket()
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		var d documents
		for _, f := range []struct {
			key string
			to  *[]byte
		}{{keyConfig, &d.config}, {keyState, &d.state}} {
			if *f.to, err = b.Get(f.key); err != nil {
				failed = append(failed, err)
			}
		}
		add(string(kv.Key), d)
	}
	return errors.Join(failed...)
}

// addresses returns the IP addresses of a container's network status, in both
// of its forms: netavark's (containers/common libnetwork/types) and CNI's.
func addresses(raw json.RawMessage) []string {
	if len(raw) == 0 {
		return nil
	}
	var netavark map[string]struct {
		Interfaces map[string]struct {
			Subnets []struct {
				IPNet string `json:"ipnet"`
			} `json:"subnets"`
		} `json:"interfaces"`
	}
	var out []string
	if oci.Decode(raw, &netavark) == nil {
		for _, name := range sorted(netavark) {
			for _, dev := range sorted(netavark[name].Interfaces) {
				for _, sub := range netavark[name].Interfaces[dev].Subnets {
					out = append(out, address(sub.IPNet))
				}
			}
		}
		return out
	}
	var cni []struct {
		IPs []struct {
			Address string `json:"address"`
		} `json:"ips"`
	}
	if oci.Decode(raw, &cni) == nil {
		for _, n := range cni {
			for _, ip := range n.IPs {
				out = append(out, address(ip.Address))
			}
		}
	}
	return out
}
