//go:build linux

package main

import (
	"math/rand/v2"
	"slices"
	"strings"
)

type variant struct {
	name, fs string
	size     int64 // MiB
	mkfs     string
	mount    string
	hangs    bool // the kernel may not survive it: only where it is named
}

// ops are what the writers do of one round.
func (v *variant) ops(rng *rand.Rand) []func(*writer) {
	switch {
	case strings.HasPrefix(v.name, "ext4-fast") && rng.IntN(4) > 0:
		return plainOps
	case v.fs == "ext4":
		return slices.Concat(plainOps, otherOps)
	case v.fs == "btrfs":
		// Most of what is not fsynced is not in a log.
		ops := slices.Concat(plainOps, otherOps, sharingOps, slices.Repeat([]func(*writer){(*writer).fsync, (*writer).fsyncFolder}, 8))
		if rng.IntN(3) == 0 {
			ops = append(ops, subvolumeOps...)
		}
		return ops
	}
	return slices.Concat(plainOps, otherOps, sharingOps)
}

const (
	mkext4  = "mkfs.ext4 -q -F -E nodiscard,lazy_itable_init=0 -N 8000 "
	mkxfs   = "mkfs.xfs -q -f -K -s size=512 "
	mkbtrfs = "mkfs.btrfs -q -f -K "
)

// variants are the ways of making a journal that differ in what a replay meets.
var variants = []variant{
	{"ext4", "ext4", 96, mkext4, "commit=1", false},
	{"ext4-small", "ext4", 96, mkext4 + "-J size=4", "commit=1", false}, // the log wraps
	{"ext4-1k", "ext4", 64, mkext4 + "-b 1024 -O ^metadata_csum,^64bit", "commit=1", false},
	{"ext4-1k-csum", "ext4", 64, mkext4 + "-b 1024 -J size=2", "commit=1", false},
	{"ext4-data", "ext4", 96, mkext4, "data=journal,commit=1", false},
	{"ext4-async", "ext4", 96, mkext4, "journal_async_commit,data=writeback,commit=1", false},
	{"ext4-async-v1", "ext4", 96, mkext4 + "-O ^metadata_csum", "journal_async_commit,data=writeback,commit=1", false},
	{"ext4-fast", "ext4", 96, mkext4 + "-O fast_commit", "commit=60", false},
	{"ext4-fast-1k", "ext4", 96, mkext4 + "-b 1024 -O fast_commit,^metadata_csum", "commit=60", false},
	{"ext4-orphan", "ext4", 96, mkext4 + "-O orphan_file,metadata_csum_seed", "commit=1", false},
	{"ext4-ea-inode", "ext4", 96, mkext4 + "-O ea_inode", "commit=1", false},
	{"ext4-bigalloc", "ext4", 128, mkext4 + "-O bigalloc -C 16384", "commit=1", false},
	{"ext4-meta-bg", "ext4", 96, mkext4 + "-O meta_bg,^resize_inode,^flex_bg", "commit=1", false},
	// Linux 6.18 was seen to hang on this one (kjournald2 waits for its own
	// commit), and the machine has to be started anew.
	{"ext4-inline", "ext4", 96, mkext4 + "-O inline_data", "commit=1", true},
	{"ext3-data", "ext4", 64, strings.Replace(mkext4, "ext4", "ext3", 1), "data=journal,commit=1", false},
	{"ext3", "ext4", 64, strings.Replace(mkext4, "ext4", "ext3", 1), "commit=1", false},

	{"xfs", "xfs", 320, mkxfs, "", false},
	{"xfs-1k", "xfs", 320, mkxfs + "-b size=1024", "", false},
	{"xfs-nrext64", "xfs", 320, mkxfs + "-i nrext64=1", "", false},
	{"xfs-al2", "xfs", 320, mkxfs + "-m bigtime=0,inobtcount=0", "", false},
	{"xfs-rmapbt", "xfs", 320, mkxfs + "-m rmapbt=1", "", false},
	{"xfs-plain", "xfs", 320, mkxfs + "-m bigtime=0,reflink=0,finobt=0,inobtcount=0 -i sparse=0", "", false},
	{"xfs-dir16k", "xfs", 320, mkxfs + "-n size=16384", "", false},
	{"xfs-logbuf", "xfs", 320, mkxfs, "logbsize=256k,logbufs=8", false},
	{"xfs-4k-sectors", "xfs", 320, "mkfs.xfs -q -f -K -s size=4096", "wsync", false},
	{"xfs-inode2k", "xfs", 320, mkxfs + "-i size=2048", "", false},
	{"xfs-parent", "xfs", 320, mkxfs + "-n parent=1 -i exchange=1", "", false}, // xfsprogs 6.10
	{"xfs-parent-1k", "xfs", 320, mkxfs + "-n parent=1 -i exchange=1 -b size=1024 -m rmapbt=1", "", false},
	{"xfs-v5-su", "xfs", 320, mkxfs + "-l su=32k,version=2", "", false},

	{"btrfs", "btrfs", 256, mkbtrfs, "commit=300", false},
	{"btrfs-zstd", "btrfs", 256, mkbtrfs + "--csum xxhash", "commit=300,compress-force=zstd", false},
	{"btrfs-4k-nodes", "btrfs", 256, mkbtrfs + "-n 4096", "commit=300", false},
	{"btrfs-holes", "btrfs", 256, mkbtrfs + "-O ^no-holes --csum sha256", "commit=300,compress=lzo", false},
	{"btrfs-dup", "btrfs", 384, mkbtrfs + "-m dup -d dup", "commit=300", false},
	{"btrfs-mixed", "btrfs", 256, mkbtrfs + "-M -n 4096", "commit=300,flushoncommit", false},
	{"btrfs-plain", "btrfs", 256, mkbtrfs + "--csum blake2", "commit=300,nodatasum,max_inline=0", false},
}

func variantNamed(name string) variant {
	for _, v := range variants {
		if v.name == name {
			return v
		}
	}
	return variant{}
}
