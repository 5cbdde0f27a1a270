//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// round is one crash.
type round struct {
	options
	host    *host
	variant variant
	mnt     string
	image   string
	rng     *rand.Rand
	paths   int
	how     string    // what kind of crash it was
	said    string    // what the reader said of the journal
	crashed time.Time // times after this one are the recovery's
}

// run makes a crash image and returns how the reader's view differs from the kernel's.
func (r *round) run() ([]string, error) {
	if err := r.crash(); err != nil {
		return nil, err
	}
	want, err := r.truth()
	if err != nil {
		os.Remove(r.image)
		return nil, err
	}
	r.paths = len(want)
	if r.golden != "" {
		if err := r.keepGolden(want); err != nil {
			return nil, err
		}
	}
	got, err := r.view()
	if err != nil {
		return []string{err.Error()}, nil
	}
	return compare(want, got, r.recovered), nil
}

// recovered says of a time that the recovery made it: the kernel stamps with
// its own clock the files whose interrupted truncation it ends (ext4_truncate),
// and the folders and files whose names a fast commit changed (__ext4_link).
func (r *round) recovered(t int64) bool { return t > r.crashed.UnixNano() }

// crash leaves in r.image what a power cut, or a snapshot of the running
// machine's disk, at a random moment would have left.
func (r *round) crash() error {
	size := r.variant.size
	if r.small && r.variant.fs == "ext4" {
		size = 24
	}
	live, err := r.host.fresh(r.variant.name, size, r.variant.mkfs)
	if err != nil {
		return err
	}
	defer os.Remove(live)
	opts := "loop,nodev,noatime"
	if r.variant.fs == "ext4" {
		opts += ",nodiscard"
	}
	if r.variant.mount != "" {
		opts += "," + r.variant.mount
	}
	if err := command("mount", "-o", opts, live, r.mnt); err != nil {
		return fmt.Errorf("%w: %w", errNotMade, err)
	}
	defer command("umount", r.mnt)
	c := newChurn(r.mnt, r.rng.Uint64(), r.variant.ops(r.rng), r.small)
	if r.variant.fs == "btrfs" {
		// Linux 6.18 stops at a BUG (btrfs_extend_item, fs/btrfs/ctree.c) where
		// replayed names of one file outgrow half a leaf.
		c.long = 8
	}
	c.prepare()
	flush(r.mnt)
	c.start(1 + r.rng.IntN(3))
	time.Sleep(time.Duration(r.rng.Int64N(int64(r.longest))))
	if r.variant.fs == "btrfs" || r.rng.IntN(2) == 0 {
		r.how = "copied"
	} else if err := r.cut(); err != nil {
		return err
	}
	// Of a dead filesystem the copy is taken while it is still mounted: what
	// unmounting would write is not part of it.
	err = clone(r.image, live)
	r.crashed = time.Now()
	c.wait()
	return err
}

// flush writes out one filesystem: sync(2) would wait for all others as well.
func flush(mnt string) {
	if f, err := os.Open(mnt); err == nil {
		unix.Syncfs(int(f.Fd()))
		f.Close()
	}
}

// Flags of FS_IOC_SHUTDOWN, which XFS calls XFS_IOC_GOINGDOWN (include/uapi/linux/fs.h, fs/ext4/ext4.h).
const (
	ioctlShutdown = 0x8004587d
	logFlush      = 1 // the log is written out first
	noLogFlush    = 2 // nothing more is written at all
)

// cut stops the filesystem dead.
func (r *round) cut() error {
	flags := noLogFlush
	r.how = "cut"
	if r.rng.IntN(4) == 0 {
		flags, r.how = logFlush, "cut after a log flush"
	}
	f, err := os.Open(r.mnt)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), ioctlShutdown, flags); err != nil {
		return fmt.Errorf("shutting down: %w", err)
	}
	return nil
}

var (
	// errRefused says that there is no truth to compare with.
	errRefused = errors.New("the kernel refuses the journal")
	// errNotMade says that the tools or the kernel here don't know such a filesystem.
	errNotMade = errors.New("not made here")
)

// truth is what the kernel shows of a scratch copy that it recovered.
func (r *round) truth() (map[string]record, error) {
	scratch := r.image + ".scratch"
	if err := clone(scratch, r.image); err != nil {
		return nil, err
	}
	defer os.Remove(scratch)
	opts := "loop,nodev,noatime"
	if r.variant.fs == "xfs" {
		opts += ",nouuid"
	}
	if err := command("mount", "-o", opts, scratch, r.mnt); err != nil {
		r.view() // to hear what the reader says of it
		return nil, errRefused
	}
	defer command("umount", r.mnt)
	return kernelTree(r.mnt)
}

func command(args ...string) error {
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		said, _, _ := bytes.Cut(bytes.TrimSpace(out), []byte("\n")) // what follows is usage
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, said)
	}
	return nil
}

// keepGolden keeps the image and the kernel's view of it, both compressed, for
// the ordinary tests. Times that the recovery made are left out.
func (r *round) keepGolden(want map[string]record) error {
	base := filepath.Join(r.golden, strings.TrimSuffix(filepath.Base(r.image), ".img"))
	if err := command("zstd", "-q", "-f", "-19", "-o", base+".img.zst", r.image); err != nil {
		return err
	}
	kept := maps.Clone(want)
	for path, rec := range kept {
		if r.recovered(rec.Mtime) {
			rec.Mtime = 0
		}
		if r.recovered(rec.Ctime) {
			rec.Ctime = 0
		}
		kept[path] = rec
	}
	b, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	if err := os.WriteFile(base+".json", b, 0o644); err != nil {
		return err
	}
	return command("zstd", "-q", "-f", "-19", "--rm", base+".json")
}
