package ext4

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// encrypt fills a filesystem with encrypted names of all lengths, for the
// kernel to show without the key once it is mounted again.
func encrypt(t testing.TB, top string, many int) {
	dir, err := os.Open(top)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	// struct fscrypt_add_key_arg with a key of 64 bytes (include/uapi/linux/fscrypt.h).
	arg := make([]byte, 80+64)
	le.PutUint32(arg, 2) // FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER
	le.PutUint32(arg[40:], 64)
	copy(arg[80:], bytes.Repeat([]byte("key "), 16))
	ioctl(t, dir, 0xc0506617, arg) // FS_IOC_ADD_ENCRYPTION_KEY
	policy := make([]byte, 24)
	copy(policy, []byte{2, 1, 4, 3}) // v2, AES-256-XTS, AES-256-CTS, padded to 32
	copy(policy[8:], arg[8:24])
	for _, name := range []string{"secret", "big"} {
		path := filepath.Join(top, name)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		d, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		ioctl(t, d, 0x800c6613, policy) // FS_IOC_SET_ENCRYPTION_POLICY
		d.Close()
	}
	try := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []int{1, 16, 100, 149, 150, 200, 255} {
		name := strings.Repeat("x", n)
		try(os.WriteFile(filepath.Join(top, "secret", name), []byte(name), 0o644))
		try(os.Symlink(name, filepath.Join(top, "secret", "l"+name[1:])+"k"[:min(1, 255-n)]))
	}
	for i := range many { // enough for a tree of hashes
		try(os.WriteFile(filepath.Join(top, "big", strings.Repeat(string(rune('a'+i%26)), i+1)), nil, 0o644))
	}
}

func ioctl(t testing.TB, f *os.File, request uintptr, arg []byte) {
	t.Helper()
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(&arg[0]))); errno != 0 {
		t.Skipf("ioctl %#x: %v", request, errno)
	}
}
