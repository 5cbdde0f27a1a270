package containerd

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/internal/node"
	"lagan/runtimes/oci"
)

// What the devmapper snapshotter keeps beside metadata.db, in <pool>.db:
// plugins/snapshots/devmapper/metadata.go and device_info.go.
//
//	devices/<pool>-snap-<snapshot's number>   device as JSON
const bucketDevices = "devices"

// pool is a thin pool as the snapshotter knows it.
type pool struct {
	name    string
	devices map[uint64]*thinInfo // by snapshots' numbers
}

type thinInfo struct {
	DeviceID uint32 `json:"device_id"`
	Size     uint64 `json:"size"`
	Name     string `json:"name"`
}

// device returns the thin device of a snapshot, nil where none is recorded.
func (p *pool) device(id uint64) *thinInfo {
	if p == nil {
		return nil
	}
	return p.devices[id]
}

// readPool reads the devices of the snapshotter's pool: the database that is
// called by it.
func (s *Store) readPool(sn *snapshotter) error {
	for _, name := range node.Entries(s.fsys, s.node, sn.dir) {
		short, ok := strings.CutSuffix(name, ".db")
		if !ok || name == snapshotterDB {
			continue
		}
		file := join(sn.dir, name)
		db, err := s.openDB(file)
		if err != nil {
			return err
		}
		b, err := db.Bucket(bucketDevices)
		if notExist(err) {
			continue // not a pool's
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		sn.pool = &pool{name: short, devices: make(map[uint64]*thinInfo)}
		for kv, err := range b.All() {
			var raw []byte
			if err == nil {
				raw, err = kv.Value()
			}
			d := &thinInfo{}
			if err == nil {
				err = oci.Decode(raw, d)
			}
			if err != nil {
				s.problems = append(s.problems, fmt.Errorf("%s: device %q: %w", file, kv.Key, err))
				continue
			}
			_, number, _ := strings.Cut(strings.TrimPrefix(string(kv.Key), short), "-snap-")
			if id, err := strconv.ParseUint(number, 10, 64); err == nil {
				d.Name = string(kv.Key)
				sn.pool.devices[id] = d
			}
		}
		return nil
	}
	return fmt.Errorf("%s: no database of a thin pool's devices beside it: %w", join(sn.dir, snapshotterDB), evidence.ErrCorrupt)
}

// thinDevice names the device of the snapshot with a number. A pool that has no
// disk of its own lies in two files, which the snapshotter isn't told of: those
// of its documentation, and of Kata's (docs/snapshotters/devmapper.md).
func (s *Store) thinDevice(sn *snapshotter, number string) *runtimes.ThinDevice {
	id, _ := strconv.ParseUint(number, 10, 64)
	d := sn.pool.device(id)
	if d == nil {
		return &runtimes.ThinDevice{}
	}
	out := &runtimes.ThinDevice{Pool: sn.pool.name, ID: d.DeviceID, Size: int64(min(d.Size, 1<<62))}
	for _, dir := range []string{sn.dir, join(s.root, devmapper), join(path.Dir(s.root), devmapper)} {
		for _, meta := range []string{"meta", "metadata"} {
			out.Files = append(out.Files, runtimes.ThinFiles{Metadata: join(dir, meta), Data: join(dir, "data")})
		}
	}
	return out
}
