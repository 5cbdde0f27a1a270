package node

import (
	"encoding/binary"
	"strings"

	"lagan/evidence"
)

// programs are such as every node has: the runtimes', then the system's.
var programs = []string{
	"/usr/bin/containerd", "/usr/local/bin/containerd", "/usr/bin/dockerd", "/usr/bin/podman", "/usr/bin/crio", "/usr/bin/kubelet",
	"/usr/local/bin/k3s", "/usr/local/bin/k0s", "/sbin/init", "/usr/lib/systemd/systemd", "/lib/systemd/systemd", "/bin/sh", "/usr/bin/sh",
}

// machines are the values of e_machine that Go, and with it images, have names for: elf(5), elf.h.
var machines = map[uint16]string{3: "386", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv64", 258: "loong64"}

// Architecture returns what the node's programs are built for, as images name it;
// "" where the tree has none of them.
func Architecture(fsys evidence.FS, node evidence.Ino) string {
	const header = 20 // e_ident, e_type, e_machine
	for _, name := range programs {
		ino, err := evidence.Resolve(fsys, node, name, true)
		if err != nil {
			continue
		}
		r, err := fsys.Open(ino)
		if err != nil {
			continue
		}
		b := make([]byte, header)
		if n, _ := r.ReadAt(b, 0); n < header || !strings.HasPrefix(string(b), "\x7fELF") {
			continue
		}
		order := binary.ByteOrder(binary.LittleEndian)
		if b[5] == 2 { // EI_DATA: ELFDATA2MSB
			order = binary.BigEndian
		}
		machine := order.Uint16(b[18:])
		switch {
		case machine == 21 && b[5] == 2:
			return "ppc64"
		case machine == 21:
			return "ppc64le"
		case machine == 22:
			return "s390x"
		}
		if name := machines[machine]; name != "" {
			return name
		}
	}
	return ""
}
