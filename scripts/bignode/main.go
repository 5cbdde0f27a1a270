//go:build linux

// Bignode writes the data roots of a node with very many containers and images,
// of the shape that containerd and dockerd give them, without the layers' files or with some:
//
//	go run ./scripts/bignode -o /tmp/big [-containers 5000] [-images 500] [-layers 10]
//	mkfs.ext4 -d /tmp/big/docker big.img 2G
//	/usr/bin/time -v lagan containers big.img > /dev/null
package main

import (
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// node is what is to be written.
type node struct {
	dir                        string
	containers, images, layers int
	files, changes             int // of each layer, of each container
}

func main() {
	var n node
	flag.StringVar(&n.dir, "o", "", "new folder to write to")
	flag.IntVar(&n.containers, "containers", 5000, "containers of each runtime")
	flag.IntVar(&n.images, "images", 500, "images of each runtime")
	flag.IntVar(&n.layers, "layers", 10, "layers of each image")
	flag.IntVar(&n.files, "files", 0, "files of each layer")
	flag.IntVar(&n.changes, "changes", 0, "files that each container changed")
	flag.Parse()
	if n.dir == "" {
		flag.Usage()
		os.Exit(2)
	}
	for _, write := range []func(node) error{writeContainerd, writeDocker} {
		if err := write(n); err != nil {
			fmt.Fprintln(os.Stderr, "bignode:", err)
			os.Exit(1)
		}
	}
}

// began is when everything was made.
var began = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

func hex(format string, args ...any) string {
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, format, args...)))
}

// chains returns the diff ids and chain ids of an image's layers.
func (n node) chains(image int) (diffs, chains []string) {
	for l := range n.layers {
		diff := "sha256:" + hex("layer %d of image %d", l, image)
		chain := diff
		if l > 0 {
			chain = "sha256:" + hex("%s %s", chains[l-1], diff)
		}
		diffs, chains = append(diffs, diff), append(chains, chain)
	}
	return diffs, chains
}

// config is an image's configuration, and its digest.
func (n node) config(image int) (raw []byte, digest string) {
	diffs, _ := n.chains(image)
	var history []map[string]any
	for i := range diffs {
		history = append(history, map[string]any{"created": began, "created_by": fmt.Sprintf("RUN /bin/sh -c apt-get install -y package-%d && rm -rf /var/lib/apt/lists/* # buildkit", i)})
	}
	raw, _ = json.Marshal(map[string]any{"created": began, "architecture": "amd64", "os": "linux", "config": map[string]any{"Env": []string{"PATH=/usr/bin"}, "Cmd": []string{"serve"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffs}, "history": history})
	return raw, "sha256:" + hex("%s", raw)
}

func imageName(i int) string { return fmt.Sprintf("registry.example.com/team/app-%d:v%d", i, i%7) }

// filler is text of the length that real documents have: seccomp rules, environments, annotations.
func filler(n int) string { return strings.Repeat("SCMP_ACT_ALLOW ", n/15+1)[:n] }

// write writes a file below the folder.
func (n node) write(name string, data []byte) error {
	name = filepath.Join(n.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, data, 0o644)
}
