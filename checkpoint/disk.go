package checkpoint

// The magic numbers that images begin with (criu/include/magic.h). Since CRIU
// 1.6 a common one stands before that of the kind.
const (
	magicCommon    = 0x54564319
	magicService   = 0x55105940
	magicInventory = 0x58313116
	magicPstree    = 0x50273030
	magicFdinfo    = 0x56213732
	magicPagemap   = 0x56084025
	magicCore      = 0x55053847
	magicIDs       = 0x54432030
	magicMM        = 0x57492820
	magicRegFiles  = 0x50363636
	magicInetSk    = 0x56443851
	magicUnixSk    = 0x54373943
	magicPacketSk  = 0x60454618
	magicNetlinkSk = 0x58005614
	magicFS        = 0x51403912
	magicFiles     = 0x56303138
	magicRemap     = 0x59133954
	magicMounts    = 0x55563928
	magicStats     = 0x57093306
)

// Field numbers of CRIU's messages (images/*.proto), of those that are read.
const (
	pstreePID, pstreePPID, pstreePGID, pstreeSID, pstreeThreads = 1, 2, 3, 4, 5 // pstree_entry

	coreTC, coreIDs, coreThread = 3, 4, 5 // core_entry
	tcState, tcExit, tcComm     = 1, 2, 6 // task_core_entry
	threadCreds                 = 10      // thread_core_entry
	idsFiles                    = 2       // task_kobj_ids_entry

	credsUID, credsGID, credsEUID, credsEGID, credsEff = 1, 2, 3, 4, 11 // creds_entry

	mmArgStart, mmArgEnd, mmEnvStart, mmEnvEnd, mmExe, mmVMAs = 8, 9, 10, 11, 12, 14 // mm_entry
	vmaStart, vmaEnd, vmaShmid, vmaProt, vmaFlags, vmaStatus  = 1, 2, 4, 5, 6, 7     // vma_entry

	pagemapID = 1 // pagemap_head
	// pagemap_entry. Since CRIU 4.2 the number of pages is the fifth field, of 64 bits, and the second is 0.
	pmAddress, pmOldPages, pmInParent, pmFlags, pmPages = 1, 2, 3, 4, 5

	pagePresent                                  = 4          // PE_PRESENT
	fsCwd, fsRoot                                = 1, 2       // fs_entry
	fdID, fdFlags, fdType, fdNumber              = 1, 2, 3, 4 // fdinfo_entry
	remapOrig                                    = 1          // remap_file_path_entry
	regID, regPos, regName, regSize              = 1, 3, 6, 8 // reg_file_entry
	fileType, fileID, fileReg, fileInet          = 1, 2, 3, 4 // file_entry
	filePacket, fileNetlink                      = 6, 7
	fileUnix, filePipe, fileMemfd, filePidfd     = 16, 18, 20, 22
	pidfdPID                                     = 4             // pidfd_entry
	mntFS, mntRoot, mntPoint, mntSource, mntOpts = 1, 6, 7, 8, 9 // mnt_entry

	skID, skFamily, skType, skProto, skState, skSrcPort, skDstPort = 1, 3, 4, 5, 6, 7, 8 // inet_sk_entry
	skSrcAddr, skDstAddr, skOpts                                   = 11, 12, 14
	usID, usType, usState, usOpts, usName                          = 1, 3, 4, 10, 11 // unix_sk_entry
	pskID, pskProto, pskOpts                                       = 1, 3, 7         // packet_sock_entry
	nlID, nlProto, nlState, nlOpts                                 = 1, 3, 4, 12     // netlink_sk_entry
	soSend, soReceive                                              = 1, 2            // sk_opts_entry

	statsDump                                                                     = 1 // stats_entry
	dumpFreezing, dumpFrozen, dumpMemdump, dumpMemwrite, dumpScanned, dumpWritten = 1, 2, 3, 4, 5, 7
)

// fileTypes are the names of fd_types (images/fdinfo.proto).
var fileTypes = map[uint64]string{
	1: "REG", 2: "PIPE", 3: "FIFO", 4: "INETSK", 5: "UNIXSK", 6: "EVENTFD", 7: "EVENTPOLL", 8: "INOTIFY", 9: "SIGNALFD", 10: "PACKETSK", 11: "TTY",
	12: "FANOTIFY", 13: "NETLINKSK", 14: "NS", 15: "TUNF", 16: "EXT", 17: "TIMERFD", 18: "MEMFD", 19: "BPFMAP", 20: "PIDFD", 65534: "CTL_TTY", 65535: "AUTOFS_PIPE",
}

// tcpStates are those of include/net/tcp_states.h.
var tcpStates = [...]string{"", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV"}

// taskStates are CRIU's (criu/include/pid.h).
var taskStates = map[uint64]string{1: "alive", 2: "dead", 3: "stopped", 6: "zombie"}
