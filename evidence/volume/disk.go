package volume

// On-disk facts of partition tables: UEFI specification 2.10, chapter 5, and
// for the MBR also block/partitions/msdos.c of Linux.
const (
	offMBRDiskID     = 440 // UniqueMBRSignature
	offMBRPartitions = 446 // PartitionRecord
	offMBRSignature  = 510 // 55 aa
	mbrSize          = 512
	mbrRecord        = 16
	mbrRecords       = 4

	typeEmpty         = 0x00
	typeExtendedCHS   = 0x05
	typeExtendedLBA   = 0x0f
	typeExtendedLinux = 0x85
	typeProtective    = 0xee // the disk has a GPT, which this entry protects

	gptSignature     = "EFI PART"
	gptHeaderMin     = 92  // HeaderSize, the least
	gptEntryMin      = 128 // SizeOfPartitionEntry, the least: 128 x 2^n
	offGPTEntryName  = 56  // PartitionName, UTF-16LE
	sizeGPTEntryName = 72
)

const (
	// maxGPTEntries bounds a partition array. Tools make 128 entries; Linux
	// numbers no more than 255 partitions of a disk.
	maxGPTEntries = 1024
	// maxGPTEntrySize bounds one entry: 128 is all that is in use.
	maxGPTEntrySize = 4096
	// maxLogical bounds the chain of logical partitions. Linux stops at 256 (DISK_MAX_PARTS).
	maxLogical = 256
)

// sectorSizes are those that disks have. 512 is tried first: most have it, and
// a table written for the other isn't found at its place.
var sectorSizes = []int{512, 4096}

// gptTypes names partition types by GUID: the UEFI specification, the
// Discoverable Partitions Specification, and the distributions that nodes run.
var gptTypes = map[string]string{
	"c12a7328-f81f-11d2-ba4b-00a0c93ec93b": "EFI system",
	"21686148-6449-6e6f-744e-656564454649": "BIOS boot",
	"024dee41-33e7-11d3-9d69-0008c781f39f": "MBR partition scheme",
	"9e1a2d38-c612-4316-aa26-8b49521e5a8b": "PowerPC PReP boot",
	"0fc63daf-8483-4772-8e79-3d69d8477de4": "Linux filesystem",
	"0657fd6d-a4ab-43c4-84e5-0933c84b4f4f": "Linux swap",
	"e6d6d379-f507-44c2-a23c-238f2a3df928": "Linux LVM",
	"a19d880f-05fc-4d3b-a006-743f0f84911e": "Linux RAID",
	"8da63339-0007-60c0-c436-083ac8230908": "Linux reserved",
	"ca7d7ccb-63ed-4c53-861c-1742536059cc": "Linux LUKS",
	"7ffec5c9-2d00-49b7-8941-3ea10a5586b7": "Linux dm-crypt",
	"44479540-f297-41b2-9af7-d131d5f0458a": "Linux root (x86)",
	"4f68bce3-e8cd-4db1-96e7-fbcaf984b709": "Linux root (x86-64)",
	"b921b045-1df0-41c3-af44-4c6f280d3fae": "Linux root (ARM64)",
	"8484680c-9521-48c6-9c11-b0720656f69e": "Linux /usr (x86-64)",
	"b0e01050-ee5f-4390-949a-9101b17104e9": "Linux /usr (ARM64)",
	"2c7357ed-ebd2-46d9-aec1-23d437ec2bf5": "Linux root verity (x86-64)",
	"77ff5f63-e7b6-4633-acf4-1565b864c0e6": "Linux /usr verity (x86-64)",
	"bc13c2ff-59e6-4262-a352-b275fd6f7172": "Linux extended boot",
	"933ac7e1-2eb4-4f13-b844-0e14e2aef915": "Linux /home",
	"3b8f8425-20e0-4f3b-907f-1a25a76f98e8": "Linux /srv",
	"4d21b016-b534-45c2-a9fb-5c16e091fd2d": "Linux /var",
	"7ec6f557-3bc5-4aca-b293-16ef5df639d1": "Linux /var/tmp",
	"e3c9e316-0b5c-4db8-817d-f92df00215ae": "Microsoft reserved",
	"ebd0a0a2-b9e5-4433-87c0-68b6b72699c7": "Microsoft basic data",
	"de94bba4-06d1-4d40-a16a-bfd50179d6ac": "Windows recovery",
	"fe3a2a5d-4f32-41a7-b725-accc3285a309": "ChromeOS kernel",
	"3cb8e202-3b7e-47dd-8a3c-7ff2a13cfcec": "ChromeOS root",
	"2e0a753d-9e48-43b0-8337-b15192cb1b5e": "ChromeOS reserved",
	"cab6e88e-abf3-4102-a07a-d4bb9be3c1d3": "ChromeOS firmware",
	"5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6": "CoreOS /usr",
	"3884dd41-8582-4404-b9a8-e9b84f2df50e": "CoreOS root (resized)",
	"be9067b9-ea49-4f15-b4f6-f36f8c9e1818": "CoreOS root on RAID",
	"c95dc21a-df0e-4340-8d7b-26cbfa9a03e0": "CoreOS OEM",
	"6b636168-7420-6568-2070-6c616e657421": "Bottlerocket boot",
	"5526016a-1a97-4ea4-b39a-b7c8c6ca4502": "Bottlerocket root",
	"598f10af-c955-4456-6a99-7720068a6cea": "Bottlerocket hash",
	"0c5d99a5-d331-4147-baef-08e2b855bdc9": "Bottlerocket reserved",
	"440408bb-eb0b-4328-a6e5-a29038fad706": "Bottlerocket private",
	"516e7cb4-6ecf-11d6-8ff8-00022d09712b": "FreeBSD",
	"6a898cc3-1dd2-11b2-99a6-080020736631": "ZFS",
}

// mbrTypes names partition types of the MBR.
var mbrTypes = map[byte]string{
	0x01: "FAT12",
	0x04: "FAT16 (small)",
	0x06: "FAT16",
	0x07: "NTFS, exFAT or HPFS",
	0x0b: "FAT32",
	0x0c: "FAT32 (LBA)",
	0x0e: "FAT16 (LBA)",
	0x27: "Windows recovery",
	0x82: "Linux swap",
	0x83: "Linux",
	0x8e: "Linux LVM",
	0xa5: "FreeBSD",
	0xbf: "Solaris",
	0xea: "Linux extended boot",
	0xef: "EFI system",
	0xfb: "VMware VMFS",
	0xfd: "Linux RAID",
}
