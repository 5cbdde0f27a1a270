package evidence

import "testing"

func TestMode(t *testing.T) {
	for _, c := range []struct {
		info Info
		want string
	}{
		{Info{}, "?---------"},
		{Info{Type: TypeFile, Perm: 0o644}, "-rw-r--r--"},
		{Info{Type: TypeFile, Perm: 0o4755}, "-rwsr-xr-x"},
		{Info{Type: TypeFile, Perm: 0o6644}, "-rwSr-Sr--"},
		{Info{Type: TypeDir, Perm: 0o1777}, "drwxrwxrwt"},
		{Info{Type: TypeDir, Perm: 0o3770}, "drwxrws--T"},
		{Info{Type: TypeSymlink, Perm: 0o777}, "lrwxrwxrwx"},
		{Info{Type: TypeChar, Perm: 0o620}, "crw--w----"},
		{Info{Type: TypeBlock, Perm: 0o660}, "brw-rw----"},
		{Info{Type: TypeFIFO, Perm: 0o600}, "prw-------"},
		{Info{Type: TypeSocket, Perm: 0o755}, "srwxr-xr-x"},
	} {
		if got := c.info.Mode(); got != c.want {
			t.Errorf("%s %04o: got %s, want %s", c.info.Type, c.info.Perm, got, c.want)
		}
	}
}
