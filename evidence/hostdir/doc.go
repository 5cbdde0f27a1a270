// Package hostdir reads a folder of the analyst's machine, where a node's
// filesystem is mounted or was copied to, as an evidence.FS.
//
// A path is walked from the folder one name at a time, with O_NOFOLLOW, so
// that no link is followed, neither out of the folder nor within it, and a
// tree that changes meanwhile can't lead out either. Devices, pipes and sockets are
// never opened. Access times stay as they are where the process may ask for that.
//
// A handle stands for a path: hard links are several handles with one
// Info.Inode. Mounts below the folder are entered, and Boundaries names them;
// the kernel's own filesystems (proc, sysfs, ...) are not, with a warning.
//
// Without CAP_SYS_ADMIN the kernel hides trusted.* attributes, in which
// overlayfs keeps its opaque folders and redirects; one warning says so.
//
// Other systems than Linux have no such view of a foreign filesystem: there
// names, types, permissions, sizes and times of the last change are read, and a
// warning says so.
package hostdir
