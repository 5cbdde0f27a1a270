package utmp

import (
	"encoding/binary"
)

// layout is how one C library lays out struct utmp (glibc bits/types/struct_utmp.h).
type layout struct {
	name    string
	order   binary.ByteOrder
	size    int
	session int // bytes of ut_session
	seconds int // bytes of tv_sec and of tv_usec
}

// Offsets that all layouts share.
const (
	offType = 0 // ut_type, 2 bytes and 2 of padding
	offPID  = 4
	offLine = 8
	lenLine = 32
	offID   = 40
	lenID   = 4
	offUser = 44
	lenUser = 32
	offHost = 76
	lenHost = 256
	offExit = 332 // e_termination, e_exit: 2 bytes each
	offRest = 336 // ut_session, ut_tv, ut_addr_v6

	lenAddr = 16
)

// layouts are those of x86-64 and all 32-bit machines, which kept 32-bit times
// (__WORDSIZE_TIME64_COMPAT32), and of 64-bit machines without such a past (aarch64, s390x).
var layouts = []layout{
	{"32-bit times", binary.LittleEndian, 384, 4, 4},
	{"64-bit times", binary.LittleEndian, 400, 8, 8},
	{"32-bit times, big-endian", binary.BigEndian, 384, 4, 4},
	{"64-bit times, big-endian", binary.BigEndian, 400, 8, 8},
}

// Layouts of struct lastlog (glibc bits/utmp.h), by the same rule.
const (
	lastlogSize32 = 4 + lenLine + lenHost
	lastlogSize64 = 8 + lenLine + lenHost
)

// Values of ut_type.
const (
	Empty = iota
	RunLevel
	BootTime
	NewTime
	OldTime
	InitProcess
	LoginProcess
	UserProcess
	DeadProcess
	Accounting
)

var typeNames = [...]string{
	"EMPTY", "RUN_LVL", "BOOT_TIME", "NEW_TIME", "OLD_TIME", "INIT_PROCESS", "LOGIN_PROCESS", "USER_PROCESS", "DEAD_PROCESS", "ACCOUNTING",
}
