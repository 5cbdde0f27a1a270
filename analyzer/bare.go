package analyzer

import (
	"strings"

	"lagan/evidence"
	"lagan/evidence/memfs"
	"lagan/evidence/tarfs"
)

// usualPlaces are the data roots that every distribution of a runtime has, with
// what they hold and no other folder does.
var usualPlaces = []struct{ path, sign string }{
	{"/var/lib/docker", "image/overlay2/layerdb"},
	{"/var/lib/docker", "containers"},
	{"/var/lib/containerd", "io.containerd.metadata.v1.bolt"},
	{"/var/lib/containers/storage", "overlay-layers"},
	{"/var/lib/containers/storage", "vfs-layers"},
}

// dockerSigns are what a data root of Docker has beside its containers, whatever its driver.
var dockerSigns = []string{"image", "network", "volumes"}

// bare returns the folder of the node that a filesystem without an operating
// system was copied from, where it is a data root or a folder above one, of the
// system's own runtimes: "/var/lib/docker", "/var/lib", "/var"; or "".
//
// The paths of containers, volumes and logs then are those that the node had.
// A store that isn't root's is one of a user, whose folder isn't known.
func bare(fsys evidence.FS, dir evidence.Ino) string {
	for _, p := range usualPlaces {
		elements := evidence.Split(p.path)
		for k := len(elements); k > 0; k-- { // k elements of the usual path are above the evidence
			inside := strings.Join(elements[k:], "/")
			store, err := evidence.Resolve(fsys, dir, inside, false)
			if err != nil || !has(fsys, store, p.sign) {
				continue
			}
			if p.sign == "containers" && !hasAll(fsys, store, dockerSigns) {
				continue
			}
			if info, err := fsys.Stat(store); err == nil && info.UID == 0 {
				return "/" + strings.Join(elements[:k], "/")
			}
		}
	}
	return ""
}

// maxWrapping bounds the folders that someone may have put a copied tree into.
const maxWrapping = 16

// wrapped is a directory of a filesystem with its path there.
type wrapped struct {
	ino  evidence.Ino
	path string // "" for the filesystem's root
}

// wrapping returns the root of a copied tree or an archive of one, and the
// folders that are alone in each other from there on: in one of them the copy
// may begin, as with "tar -cf x.tar mnt/evidence".
func wrapping(v *Volume) []wrapped {
	out := []wrapped{{v.FS.Root(), ""}}
	if _, isTar := v.FS.(*tarfs.FS); !isTar && v.Scheme != schemeFolder {
		return out
	}
	for len(out) < maxWrapping {
		at := out[len(out)-1]
		var only evidence.Entry
		count := 0
		for e, err := range v.FS.ReadDir(at.ino) {
			if only = e; err != nil || count > 0 || e.Type != evidence.TypeDir {
				return out
			}
			count++
		}
		if count == 0 {
			return out
		}
		out = append(out, wrapped{only.Ino, strings.TrimPrefix(at.path+"/"+only.Name, "/")})
	}
	return out
}

func has(fsys evidence.FS, dir evidence.Ino, path string) bool {
	_, err := evidence.Resolve(fsys, dir, path, false)
	return err == nil
}

func hasAll(fsys evidence.FS, dir evidence.Ino, paths []string) bool {
	for _, p := range paths {
		if !has(fsys, dir, p) {
			return false
		}
	}
	return true
}

// emptyRoot is a root that no volume has, to mount volumes in. Its folders
// have no times: nothing is known of them.
func (n *Node) emptyRoot(dirs ...string) (*Volume, evidence.Ino) {
	fsys := memfs.New()
	for _, dir := range dirs {
		at := ""
		for _, e := range evidence.Split(dir) {
			at += "/" + e
			fsys.Dir(at).Info = folderInfo(fsys.Dir(at).Info)
		}
	}
	top := fsys.Dir("")
	top.Info = folderInfo(top.Info)
	return &Volume{Evidence: n.Evidence[0], Scheme: "none", FS: fsys}, fsys.Root()
}

// folderInfo keeps of a made-up folder what isn't made up.
func folderInfo(i evidence.Info) evidence.Info {
	return evidence.Info{Inode: i.Inode, Type: i.Type, Perm: i.Perm, Nlink: i.Nlink}
}
