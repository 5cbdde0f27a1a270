package checkpoint

import (
	"fmt"
	"strconv"
	"strings"

	"lagan/evidence"
)

// maxProcesses bounds the processes of a container.
const maxProcesses = 100_000

// open is an open file of any kind, by the id that descriptors name.
type open struct {
	typ     string
	path    string
	deleted bool
	socket  *Socket
}

// openKey tells files of different kinds apart: their ids are counted for all
// kinds together in files.img, and by kind in older images.
type openKey struct {
	typ string
	id  uint64
}

// processes reads the images of all processes.
func (a *archive) processes() {
	files := a.openFiles()
	perID := false
	for e, err := range a.image("inventory", magicInventory) {
		if err == nil {
			perID = e.num(2) != 0 // fdinfo_per_id
		}
	}
	changed := make(map[string]bool, len(a.c.Changed))
	for _, c := range a.c.Changed {
		if !c.Deleted {
			changed[c.Path] = true
		}
	}
	seen := make(map[uint32]bool)
	for e, err := range a.image("pstree", magicPstree) {
		if err != nil {
			a.problem("pstree.img", err)
			break
		}
		if len(a.c.Processes) >= maxProcesses {
			a.problem("pstree.img", fmt.Errorf("more than %d processes: %w", maxProcesses, evidence.ErrUnsupported))
			break
		}
		p := &Process{PID: uint32(e.num(pstreePID)), PPID: uint32(e.num(pstreePPID)), PGID: uint32(e.num(pstreePGID)), SID: uint32(e.num(pstreeSID))}
		if seen[p.PID] {
			a.problem("pstree.img", fmt.Errorf("process %d is there twice: %w", p.PID, evidence.ErrCorrupt))
			continue
		}
		seen[p.PID] = true
		for _, t := range e.nums(pstreeThreads) {
			p.Threads = append(p.Threads, uint32(t))
		}
		a.c.Processes = append(a.c.Processes, p)
		filesID := a.core(p)
		a.mm(p, files)
		a.fs(p, files)
		a.descriptors(p, files, filesID, perID)
		a.pagemap(p)
		p.ExeChanged = changed[p.Exe]
	}
	for e, err := range a.mounts() {
		if err != nil {
			a.problem("mountpoints", err)
			break
		}
		a.c.MountTable = append(a.c.MountTable, MountEntry{e.text(mntPoint), e.text(mntRoot), e.text(mntSource), e.text(mntOpts)})
	}
}

// image yields the entries of checkpoint/NAME.img; nothing where there is none.
func (a *archive) image(name string, magic uint32) func(func(message, error) bool) {
	b := a.files["checkpoint/"+name+".img"]
	if b == nil {
		return func(func(message, error) bool) {}
	}
	return entries(b, magic)
}

func (a *archive) mounts() func(func(message, error) bool) {
	return func(yield func(message, error) bool) {
		for name, b := range sorted(a.files) {
			if strings.HasPrefix(name, "checkpoint/mountpoints-") {
				for e, err := range entries(b, magicMounts) {
					if !yield(e, err) {
						return
					}
				}
			}
		}
	}
}

// openFiles reads what descriptors refer to: files.img, or CRIU's older images by kind.
func (a *archive) openFiles() map[openKey]open {
	out := make(map[openKey]open)
	deleted := make(map[uint64]bool)
	for e, err := range a.image("remap-fpath", magicRemap) {
		if err != nil {
			a.problem("remap-fpath.img", err)
			break
		}
		deleted[e.num(remapOrig)] = true
	}
	add := func(typ string, id uint64, o open) {
		o.typ = typ
		if rest, ok := strings.CutSuffix(o.path, " (deleted)"); ok {
			o.path, o.deleted = rest, true
		}
		o.deleted = o.deleted || typ == "REG" && deleted[id]
		out[openKey{typ, id}] = o
	}
	for e, err := range a.image("files", magicFiles) {
		if err != nil {
			a.problem("files.img", err)
			break
		}
		typ := fileTypes[e.num(fileType)]
		o, err := openOf(e)
		if err != nil {
			a.problem("files.img", err)
		}
		add(typ, e.num(fileID), o)
	}
	for e, err := range a.image("reg-files", magicRegFiles) {
		if err != nil {
			a.problem("reg-files.img", err)
			break
		}
		add("REG", e.num(regID), open{path: regular(e.text(regName))})
	}
	for e, err := range a.image("inetsk", magicInetSk) {
		if err != nil {
			a.problem("inetsk.img", err)
			break
		}
		add("INETSK", e.num(skID), open{socket: inet(e)})
	}
	for e, err := range a.image("unixsk", magicUnixSk) {
		if err != nil {
			a.problem("unixsk.img", err)
			break
		}
		add("UNIXSK", e.num(usID), open{socket: unix(e)})
	}
	for e, err := range a.image("packetsk", magicPacketSk) {
		if err != nil {
			a.problem("packetsk.img", err)
			break
		}
		add("PACKETSK", e.num(pskID), open{socket: packet(e)})
	}
	for e, err := range a.image("netlinksk", magicNetlinkSk) {
		if err != nil {
			a.problem("netlinksk.img", err)
			break
		}
		add("NETLINKSK", e.num(nlID), open{socket: netlink(e)})
	}
	return out
}

func openOf(e message) (open, error) {
	switch {
	case e.has(fileReg):
		m, err := e.sub(fileReg)
		return open{path: regular(m.text(regName))}, err
	case e.has(fileInet):
		m, err := e.sub(fileInet)
		return open{socket: inet(m)}, err
	case e.has(fileUnix):
		m, err := e.sub(fileUnix)
		return open{socket: unix(m)}, err
	case e.has(filePipe):
		m, err := e.sub(filePipe)
		return open{path: fmt.Sprintf("pipe[%d]", m.num(2))}, err // pipe_id
	case e.has(filePacket):
		m, err := e.sub(filePacket)
		return open{socket: packet(m)}, err
	case e.has(fileNetlink):
		m, err := e.sub(fileNetlink)
		return open{socket: netlink(m)}, err
	case e.has(filePidfd):
		m, err := e.sub(filePidfd)
		return open{path: fmt.Sprintf("pidfd[%d]", int32(m.num(pidfdPID)))}, err
	case e.has(fileMemfd):
		return open{path: "memfd", deleted: true}, nil
	}
	return open{}, nil
}

// regular is a path as the container had it.
func regular(name string) string {
	if name == "." || name == "" {
		return "/"
	}
	return name
}

// core reads what is known of a process itself, and returns the number of its descriptors' image.
func (a *archive) core(p *Process) (filesID uint64) {
	name := fmt.Sprintf("core-%d", p.PID)
	for e, err := range a.image(name, magicCore) {
		if err != nil {
			a.problem(name, err)
			break
		}
		tc, err := e.sub(coreTC)
		if err != nil {
			a.problem(name, err)
		}
		p.Comm, p.State, p.ExitCode = strings.TrimRight(tc.text(tcComm), "\x00"), taskStates[tc.num(tcState)], uint32(tc.num(tcExit))
		if thread, err := e.sub(coreThread); err == nil {
			if creds, err := thread.sub(threadCreds); err == nil && thread.has(threadCreds) {
				p.HasCreds = true
				p.UID, p.GID, p.EUID, p.EGID = uint32(creds.num(credsUID)), uint32(creds.num(credsGID)), uint32(creds.num(credsEUID)), uint32(creds.num(credsEGID))
				for i, w := range creds.nums(credsEff) {
					if i < 2 {
						p.CapEff |= w & 0xffffffff << (32 * i)
					}
				}
			}
		}
		if ids, err := e.sub(coreIDs); err == nil {
			filesID = ids.num(idsFiles)
		}
	}
	for e, err := range a.image(fmt.Sprintf("ids-%d", p.PID), magicIDs) {
		if err == nil && filesID == 0 {
			filesID = e.num(idsFiles)
		}
	}
	return filesID
}

// maxMaps bounds the mappings of a process: vm.max_map_count is 65530 unless raised.
const maxMaps = 1 << 20

func (a *archive) mm(p *Process, files map[openKey]open) {
	name := fmt.Sprintf("mm-%d", p.PID)
	for e, err := range a.image(name, magicMM) {
		if err != nil {
			a.problem(name, err)
			break
		}
		p.args, p.env = span{e.num(mmArgStart), e.num(mmArgEnd)}, span{e.num(mmEnvStart), e.num(mmEnvEnd)}
		if o, ok := files[openKey{"REG", e.num(mmExe)}]; ok {
			p.Exe, p.ExeDeleted = o.path, o.deleted
		}
		for _, f := range e[mmVMAs] {
			v, err := decode(f.bytes)
			if err != nil || len(p.Maps) >= maxMaps {
				a.problem(name, fmt.Errorf("mapping %d: %w", len(p.Maps), err))
				break
			}
			m := Map{Start: v.num(vmaStart), End: v.num(vmaEnd), Prot: protection(v.num(vmaProt))}
			const shared = 1 // MAP_SHARED
			if v.num(vmaFlags)&shared != 0 && m.End > m.Start {
				p.Shared += int64(min(m.End-m.Start, 1<<47))
			}
			const filePrivate, fileShared = 1 << 6, 1 << 7 // VMA_FILE_PRIVATE, VMA_FILE_SHARED: criu/include/image.h
			if v.num(vmaStatus)&(filePrivate|fileShared) != 0 {
				o := files[openKey{"REG", v.num(vmaShmid)}]
				m.Path = o.path
				if o.deleted && o.path != "" {
					m.Path += " (deleted)"
				}
			}
			p.Maps = append(p.Maps, m)
		}
	}
}

func protection(n uint64) string {
	b := []byte("---")
	for i, c := range "rwx" {
		if n&(1<<i) != 0 {
			b[i] = byte(c)
		}
	}
	return string(b)
}

func (a *archive) fs(p *Process, files map[openKey]open) {
	name := fmt.Sprintf("fs-%d", p.PID)
	for e, err := range a.image(name, magicFS) {
		if err != nil {
			a.problem(name, err)
			break
		}
		p.Cwd, p.Root = files[openKey{"REG", e.num(fsCwd)}].path, files[openKey{"REG", e.num(fsRoot)}].path
	}
}

// maxDescriptors bounds the open files of all processes, which may share one image of them.
const maxDescriptors = 4 << 20

func (a *archive) descriptors(p *Process, files map[openKey]open, filesID uint64, perID bool) {
	name := fmt.Sprintf("fdinfo-%d", p.PID)
	if by := fmt.Sprintf("fdinfo-%d", filesID); filesID > 0 && (perID || a.files["checkpoint/"+name+".img"] == nil) {
		name = by
	}
	for e, err := range a.image(name, magicFdinfo) {
		if err != nil {
			a.problem(name, err)
			break
		}
		if a.descriptorCount++; a.descriptorCount > maxDescriptors {
			a.problem(name, fmt.Errorf("more than %d descriptors: %w", maxDescriptors, evidence.ErrUnsupported))
			break
		}
		typ := fileTypes[e.num(fdType)]
		o := files[openKey{typ, e.num(fdID)}]
		fd := strconv.FormatUint(e.num(fdNumber), 10)
		if o.socket != nil {
			s := *o.socket
			s.FD = fd
			p.Sockets = append(p.Sockets, s)
			continue
		}
		p.Files = append(p.Files, File{FD: fd, Type: first(typ, "UND"), Path: o.path, Deleted: o.deleted})
	}
}
