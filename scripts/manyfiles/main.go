// Manyfiles fills a folder, usually the root of a new filesystem on a sparse
// image, with as many files as a test of speed and memory needs:
//
//	truncate -s 50G big.img; mkfs.ext4 -q -N 3200000 big.img; mount -o loop big.img /mnt
//	go run ./scripts/manyfiles -o /mnt -files 3000000
//	umount /mnt; /usr/bin/time -v lagan timeline big.img --scope node -o big.jsonl
//
// Its shapes: "node" has 60 files in each of its folders, 40 folders below each
// of theirs, a size of 0 to 9,000 bytes, and a link for every 25th; "flat" shares
// the files among 1,000 folders; "wide" has all files in one folder; "deep" one file in each of the folders that lie in
// each other.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
)

func main() {
	dir := flag.String("o", "", "folder to fill")
	files := flag.Int("files", 1_000_000, "files")
	shape := flag.String("shape", "node", "node, flat, wide or deep")
	empty := flag.Bool("empty", false, "files without content")
	flag.Parse()
	shapes := map[string]func(string, int, bool) error{"node": node, "flat": flat, "wide": wide, "deep": deep}
	fill := shapes[*shape]
	if *dir == "" || fill == nil || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := fill(*dir, *files, *empty); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const (
	perFolder = 60
	perBranch = 40
	linkEvery = 25
)

var content = func() []byte {
	b := make([]byte, 9000)
	r := rand.NewChaCha8([32]byte{})
	r.Read(b)
	return b
}()

// node fills folder after folder, several at a time.
func node(dir string, files int, empty bool) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, runtime.NumCPU())
	folders := (files + perFolder - 1) / perFolder
	for range runtime.NumCPU() {
		wg.Go(func() {
			for {
				k := int(next.Add(1)) - 1
				if k >= folders {
					return
				}
				if err := folder(dir, k, min(perFolder, files-k*perFolder), empty); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

func folder(dir string, k, n int, empty bool) error {
	path := fmt.Sprintf("%s/srv/branch-%04d/dir-%02d", dir, k/perBranch, k%perBranch)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	for i := range n {
		name := fmt.Sprintf("%s/module-%06d.py", path, k*perFolder+i)
		if i%linkEvery == linkEvery-1 {
			if err := os.Symlink(fmt.Sprintf("../dir-%02d/module-%06d.py", k%perBranch, k), name); err != nil {
				return err
			}
			continue
		}
		if err := file(name, k*perFolder+i, empty); err != nil {
			return err
		}
	}
	return nil
}

func file(name string, i int, empty bool) error {
	size := 0
	if !empty {
		size = []int{0, 120, 700, 1500, 3000, 5000, 9000}[i%7]
	}
	return os.WriteFile(name, content[:size], 0o644)
}

// flatFolders is how many folders share the files of the shape "flat".
const flatFolders = 1000

// flat shares the files among 1,000 folders.
func flat(dir string, files int, empty bool) error {
	for k := range flatFolders {
		path := fmt.Sprintf("%s/srv/dir-%04d", dir, k)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		for i := k; i < files; i += flatFolders {
			if err := file(fmt.Sprintf("%s/module-%07d.py", path, i), i, empty); err != nil {
				return err
			}
		}
	}
	return nil
}

// wide puts all files into one folder.
func wide(dir string, files int, empty bool) error {
	path := dir + "/srv/wide"
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	for i := range files {
		if err := file(fmt.Sprintf("%s/entry-with-a-longish-name-%08d.log", path, i), i, empty); err != nil {
			return err
		}
	}
	return nil
}

// deep puts a file into each of the folders that lie in each other. Paths soon
// are longer than the kernel takes, so that it goes from folder to folder.
func deep(dir string, files int, empty bool) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	for i := range files {
		name := fmt.Sprintf("d%d", i)
		if err := root.Mkdir(name, 0o755); err != nil {
			return err
		}
		below, err := root.OpenRoot(name)
		root.Close()
		if err != nil {
			return err
		}
		root = below
		f, err := root.Create("file")
		if err != nil {
			return err
		}
		if !empty {
			if _, err = f.Write(content[:i%9000]); err != nil {
				return err
			}
		}
		f.Close()
	}
	return root.Close()
}
