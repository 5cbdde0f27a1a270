package volume

import (
	"fmt"
	"io"
	"strings"

	"lagan/evidence"
	"lagan/evidence/volume/lvm"
	"lagan/evidence/volume/md"
	"lagan/evidence/volume/thin"
)

// Assembled is what the volumes of all disks of a node are parts of.
type Assembled struct {
	Made []Volume // arrays first, then logical volumes
	// Members are the places, among the volumes given, of what is a part of one:
	// a filesystem that seems to be there is the array's.
	Members []int
	Pools   []Pool
}

// Pool is a thin pool whose devices only who made them knows: a container
// runtime, as a rule. Name is device mapper's, "" where it isn't known.
type Pool struct {
	Name string
	*thin.Pool
}

// Assemble finds the arrays, logical volumes and thin pools whose parts are
// among the volumes. What can't be read is told to warn, which may be nil.
func Assemble(vols []Volume, warn func(error)) Assembled {
	if warn == nil {
		warn = func(error) {}
	}
	var out Assembled
	isMember := make([]bool, len(vols))
	for _, a := range md.Open(devices(vols), warn) {
		for _, i := range a.Members {
			isMember[i] = true
		}
		out.Made = append(out.Made, arrayVolumes(a, warn)...)
	}
	var pvs []lvm.Device
	for i, v := range vols {
		if !isMember[i] && Identify(v.ReaderAt) == "LVM2_member" {
			isMember[i] = true
			pvs = append(pvs, device{v.ReaderAt, v.Size})
		}
	}
	for _, v := range out.Made {
		if Identify(v.ReaderAt) == "LVM2_member" {
			pvs = append(pvs, device{v.ReaderAt, v.Size})
		}
	}
	lvs, pools := lvm.Open(pvs, warn)
	for _, lv := range lvs {
		out.Made = append(out.Made, Volume{ReaderAt: lv, Size: lv.Size(), Scheme: SchemeLVM, Type: lv.Kind, TypeName: "LVM " + lv.Kind,
			Name: lv.Group + "/" + lv.Name, UUID: lv.UUID, SectorSize: 512})
	}
	for _, p := range pools {
		out.Pools = append(out.Pools, Pool{mapperName(p.Group, p.Name), p.Pool})
	}
	out.rawPools(vols, isMember, warn)
	for i, is := range isMember {
		if is {
			out.Members = append(out.Members, i)
		}
	}
	return out
}

// mapperName is device mapper's name of a logical volume: dm_build_dm_name of libdevmapper.
func mapperName(group, name string) string {
	return strings.ReplaceAll(group, "-", "--") + "-" + strings.ReplaceAll(name, "-", "--")
}

// rawPools finds the pools whose metadata and data are two volumes. What the
// data lie on is told by its size alone, which the metadata has; one that could
// be two volumes is not opened.
func (out *Assembled) rawPools(vols []Volume, isMember []bool, warn func(error)) {
	all := append(vols[:len(vols):len(vols)], out.Made...)
	member := func(i int) bool { return i < len(vols) && isMember[i] }
	for i, meta := range all {
		if member(i) || !thin.Is(meta.ReaderAt) {
			continue
		}
		size, chunk, err := thin.DataSize(meta.ReaderAt)
		var at []int
		for j, data := range all {
			if j != i && !member(j) && size > 0 && data.Size >= size && data.Size < size+chunk {
				at = append(at, j)
			}
		}
		if err == nil && len(at) != 1 {
			err = fmt.Errorf("%d volumes have the size of its data, %d bytes: %w", len(at), size, evidence.ErrUnsupported)
		}
		var pool *thin.Pool
		if err == nil {
			pool, err = thin.Open("", device{meta.ReaderAt, meta.Size}, device{all[at[0]].ReaderAt, all[at[0]].Size}, warn)
		}
		if err != nil {
			warn(fmt.Errorf("metadata of a thin pool: %w", err))
			continue
		}
		out.Pools = append(out.Pools, Pool{Pool: pool})
		for _, j := range []int{i, at[0]} {
			if j < len(vols) {
				isMember[j] = true
			}
		}
	}
}

// arrayVolumes returns the partitions of an array, or the array itself where it has none.
func arrayVolumes(a *md.Array, warn func(error)) []Volume {
	vols, err := Scan(a, a.Size(), warn)
	if err != nil {
		warn(err)
	}
	if len(vols) > 0 && vols[0].Scheme != SchemeNone {
		for i := range vols {
			vols[i].Index = 0
		}
		return vols
	}
	return []Volume{{ReaderAt: a, Size: a.Size(), Scheme: SchemeMD, Type: a.Level, TypeName: "MD " + a.Level, Name: a.Name, UUID: a.UUID, SectorSize: 512}}
}

// device is a volume's bytes with their number.
type device struct {
	io.ReaderAt
	size int64
}

func (d device) Size() int64 { return d.size }

func devices(vols []Volume) []md.Device {
	out := make([]md.Device, len(vols))
	for i, v := range vols {
		out[i] = device{v.ReaderAt, v.Size}
	}
	return out
}
