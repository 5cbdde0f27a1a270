package main

import "strings"

type variant struct {
	name, fs string
	size     int64 // MiB
	mkfs     string
	mount    string
}

const (
	mkext4 = "mkfs.ext4 -q -F -E nodiscard,lazy_itable_init=0 -N 8000 "
	mkxfs  = "mkfs.xfs -q -f -K "
)

// variants are the ways of making a journal that differ in what a replay meets.
var variants = []variant{
	{"ext4", "ext4", 96, mkext4, "commit=1"},
	{"ext4-small", "ext4", 96, mkext4 + "-J size=4", "commit=1"}, // the log wraps
	{"ext4-1k", "ext4", 64, mkext4 + "-b 1024 -O ^metadata_csum,^64bit", "commit=1"},
	{"ext4-1k-csum", "ext4", 64, mkext4 + "-b 1024 -J size=2", "commit=1"},
	{"ext4-data", "ext4", 96, mkext4, "data=journal,commit=1"},
	{"ext4-async", "ext4", 96, mkext4, "journal_async_commit,data=writeback,commit=1"},
	{"ext4-async-v1", "ext4", 96, mkext4 + "-O ^metadata_csum", "journal_async_commit,data=writeback,commit=1"},
	{"ext4-fast", "ext4", 96, mkext4 + "-O fast_commit", "commit=60"},
	{"ext4-fast-1k", "ext4", 96, mkext4 + "-b 1024 -O fast_commit,^metadata_csum", "commit=60"},
	{"ext4-orphan", "ext4", 96, mkext4 + "-O orphan_file,metadata_csum_seed", "commit=1"},
	// Linux 6.18 was seen to hang on this one (kjournald2 waits for its own
	// commit), and the machine has to be started anew: -skip leaves it out.
	{"ext4-inline", "ext4", 96, mkext4 + "-O inline_data", "commit=1"},
	{"ext3", "ext4", 64, strings.Replace(mkext4, "ext4", "ext3", 1), "commit=1"},

	{"xfs", "xfs", 320, mkxfs, ""},
	{"xfs-1k", "xfs", 320, mkxfs + "-b size=1024", ""},
	{"xfs-nrext64", "xfs", 320, mkxfs + "-i nrext64=1", ""},
	{"xfs-al2", "xfs", 320, mkxfs + "-m bigtime=0,inobtcount=0", ""},
	{"xfs-rmapbt", "xfs", 320, mkxfs + "-m rmapbt=1", ""},
	{"xfs-plain", "xfs", 320, mkxfs + "-m bigtime=0,reflink=0,finobt=0,inobtcount=0 -i sparse=0", ""},
	{"xfs-dir16k", "xfs", 320, mkxfs + "-n size=16384", ""},
	{"xfs-logbuf", "xfs", 320, mkxfs, "logbsize=256k,logbufs=8"},
	{"xfs-v5-su", "xfs", 320, mkxfs + "-l su=32k,version=2", ""},
}

func variantNamed(name string) variant {
	for _, v := range variants {
		if v.name == name {
			return v
		}
	}
	return variant{}
}
