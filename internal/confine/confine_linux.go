package confine

import (
	"debug/elf"
	"fmt"
	"os"
	"slices"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/landlock-lsm/go-landlock/landlock"
	"github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// refused are the system calls that reading evidence never makes: those that
// start programs, open sockets, change what is mounted or what the process is,
// look into other processes, or reach the kernel by ways that Landlock and this
// filter don't see (io_uring). Names that an architecture lacks are left out.
var refused = []string{
	"execve", "execveat", "fork", "vfork",
	"socketpair", "listen", "accept", "accept4",
	"mount", "umount2", "pivot_root", "chroot", "move_mount", "fsopen", "fsconfig", "fsmount", "open_tree", "mount_setattr",
	"unshare", "setns", "swapon", "swapoff", "reboot", "sethostname", "setdomainname",
	"ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd",
	"init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "bpf", "perf_event_open", "userfaultfd",
	"add_key", "request_key", "keyctl", "open_by_handle_at", "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid",
	"io_uring_setup", "io_uring_enter", "io_uring_register", "acct", "quotactl", "settimeofday", "clock_settime", "adjtimex",
}

// clientCalls are those that a client makes to reach a service.
var clientCalls = []string{"socket", "connect", "bind", "sendto", "sendmsg", "sendmmsg"}

// pinned are files of /proc that stay open. A rule of Landlock is of an inode,
// and the kernel makes a new one for a file of /proc that it had dropped from
// memory: the threads' folder, which a build with cgo reads whenever a thread is
// confined and ends the process if it can't, and the map that tells whether
// trusted attributes show.
var pinned []*os.File

func pin() {
	if pinned != nil {
		return
	}
	for _, p := range []string{"/proc/self/task", "/proc/self/uid_map"} {
		if f, err := os.Open(p); err == nil {
			pinned = append(pinned, f)
		}
	}
}

// Apply confines the process, every thread of it. An error says that a
// mechanism that the kernel has could not be set up; what a kernel lacks is in
// the state.
func Apply(a Access) (State, error) {
	var s State
	pin()
	files, dirs := existing(a.Read)
	_, out := existing(a.Write)
	rules := []landlock.Rule{
		landlock.PathAccess(syscall.AccessFSReadFile, files...), landlock.PathAccess(syscall.AccessFSReadFile|syscall.AccessFSReadDir, dirs...),
	}
	if a.Itself {
		own, libraries := existing(itself())
		_, about := existing(aboutProcesses)
		rules = append(rules, landlock.ROFiles(own...), landlock.RODirs(libraries...), landlock.PathAccess(syscall.AccessFSReadFile|syscall.AccessFSReadDir, about...))
	}
	// Best effort: an older kernel enforces what it knows of the rules.
	config := landlock.V7.BestEffort()
	write := landlock.RWDirs(out...)
	if a.Link {
		write = write.WithRefer()
	}
	rules = append(rules, write)
	for _, port := range a.Connect {
		rules = append(rules, landlock.ConnectTCP(port))
	}
	if err := config.Restrict(rules...); err != nil {
		return s, fmt.Errorf("confining with landlock: %w", err)
	}
	s = of(a, append(slices.Clone(files), dirs...), out)
	filtered, err := filter(len(a.Connect) > 0, a.Itself)
	if err != nil {
		return s, err
	}
	return append(s, filtered...), nil
}

// Plan says what would hold of a process that Apply confined to paths, which may
// be words here that stand for what isn't known yet.
func Plan(a Access) State {
	_, filtered := filterOf(len(a.Connect) > 0, a.Itself)
	return append(of(a, a.Read, a.Write), filtered...)
}

// of says what Landlock leaves.
func of(a Access, reads, writes []string) (s State) {
	if v := abi(); v > 0 {
		s = append(s, fmt.Sprintf("landlock %d: reads %q, writes in %q", v, reads, writes))
	} else {
		s = append(s, "no landlock in this kernel: any file that this user may open could be opened")
	}
	if len(a.Connect) > 0 {
		s = append(s, fmt.Sprintf("connects to the ports %d", a.Connect))
	}
	return s
}

// aboutProcesses is where Go's and C's runtimes learn of threads and limits when
// they begin, and a process of the memory that its children take.
var aboutProcesses = []string{"/proc", "/sys/fs/cgroup", "/sys/kernel/mm/transparent_hugepage"}

// itself is what has to be opened to start this program again: a build with cgo
// needs its loader and libraries.
func itself() []string {
	program, err := os.Executable()
	if err != nil {
		return nil
	}
	paths := []string{program}
	if f, err := elf.Open(program); err == nil {
		if f.Section(".interp") != nil {
			paths = append(paths, "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")
		}
		f.Close()
	}
	return paths
}

// abi is the version of Landlock that the kernel has, 0 without it.
func abi() int {
	v, err := syscall.LandlockGetABIVersion()
	if err != nil {
		return 0
	}
	return v
}

// filterOf returns the system calls that are refused, and says so; none where
// this kernel or processor has no filter.
func filterOf(client, itself bool) (calls []string, s State) {
	if !seccomp.Supported() {
		return nil, State{"no seccomp in this kernel: programs and sockets are not refused"}
	}
	info, err := arch.GetInfo("")
	if err != nil {
		return nil, State{"no seccomp filter for this processor: programs and sockets are not refused"}
	}
	names, what := slices.Concat(refused, clientCalls), "programs and sockets"
	if client {
		names, what = refused, "programs and servers"
	}
	if itself { // which programs can be started is Landlock's then
		names, what = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == "execve" }), "sockets"
	}
	for _, name := range names {
		if _, ok := info.SyscallNames[name]; ok {
			calls = append(calls, name)
		}
	}
	return calls, State{"no new privileges", fmt.Sprintf("seccomp: %d system calls refused, %s among them", len(calls), what)}
}

// filter refuses the system calls that are not needed, with EPERM.
func filter(client, itself bool) (State, error) {
	calls, s := filterOf(client, itself)
	if calls == nil {
		return s, nil
	}
	err := seccomp.LoadFilter(seccomp.Filter{
		NoNewPrivs: true,
		Flag:       seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionAllow,
			Syscalls:      []seccomp.SyscallGroup{{Names: calls, Action: seccomp.ActionErrno}},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("confining with seccomp: %w", err)
	}
	return s, nil
}
