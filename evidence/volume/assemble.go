package volume

import (
	"io"

	"lagan/evidence/volume/lvm"
	"lagan/evidence/volume/md"
)

// Assemble finds the arrays and logical volumes whose parts are among the
// volumes of all disks of a node, arrays first. members are the places in vols
// of what is a part of one: a filesystem that seems to be there is the array's.
// What can't be read is told to warn, which may be nil.
func Assemble(vols []Volume, warn func(error)) (made []Volume, members []int) {
	if warn == nil {
		warn = func(error) {}
	}
	isMember := make([]bool, len(vols))
	for _, a := range md.Open(devices(vols), warn) {
		for _, i := range a.Members {
			isMember[i] = true
		}
		made = append(made, arrayVolumes(a, warn)...)
	}
	var pvs []lvm.Device
	for i, v := range vols {
		if !isMember[i] && Identify(v.ReaderAt) == "LVM2_member" {
			isMember[i] = true
			pvs = append(pvs, device{v.ReaderAt, v.Size})
		}
	}
	for _, v := range made {
		if Identify(v.ReaderAt) == "LVM2_member" {
			pvs = append(pvs, device{v.ReaderAt, v.Size})
		}
	}
	for _, lv := range lvm.Open(pvs, warn) {
		made = append(made, Volume{ReaderAt: lv, Size: lv.Size(), Scheme: SchemeLVM, Type: lv.Kind, TypeName: "LVM " + lv.Kind,
			Name: lv.Group + "/" + lv.Name, UUID: lv.UUID, SectorSize: 512})
	}
	for i, is := range isMember {
		if is {
			members = append(members, i)
		}
	}
	return made, members
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
