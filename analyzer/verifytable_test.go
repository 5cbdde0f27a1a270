package analyzer

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"lagan/evidence"
)

// TestVerifyTable: layers that Podman pulled file by file are held against the
// tables of contents that it kept, which doesn't prove them.
func TestVerifyTable(t *testing.T) {
	for name, c := range map[string]struct {
		change func(f *tampered, layer string)
		want   []string
	}{
		"untouched": {func(*tampered, string) {}, nil},
		"a content": {func(f *tampered, layer string) { f.data[f.at(t, layer+"/diff/etc/passwd")] = flip(3) }, []string{"changed /etc/passwd content"}},
		"a mode": {func(f *tampered, layer string) {
			f.info[f.at(t, layer+"/diff/bin/t")] = func(i *evidence.Info) { i.Perm = 0o4755 }
		}, []string{"changed /bin/t mode"}},
		"an owner": {func(f *tampered, layer string) {
			f.info[f.at(t, layer+"/diff/www/index")] = func(i *evidence.Info) { i.UID = 1000 }
		}, []string{"changed /www/index owner"}},
		"a file changed later": {func(f *tampered, layer string) {
			f.info[f.at(t, layer+"/diff/www/index")] = func(i *evidence.Info) { i.Mtime, i.Ctime = i.Mtime.Add(time.Minute), i.Ctime.Add(time.Minute) }
		}, []string{"changed /www/index mtime", "changed /www/index ctime"}},
		"a file's change hidden": {func(f *tampered, layer string) {
			f.info[f.at(t, layer+"/diff/www/index")] = func(i *evidence.Info) { i.Ctime = i.Ctime.Add(time.Minute) }
		}, []string{"changed /www/index ctime"}},
		"a name": {func(f *tampered, layer string) { f.name(t, layer+"/diff/etc/group", evidence.Entry{}) }, []string{"missing /etc/group file"}},
		"the table": {func(f *tampered, layer string) {
			f.data[f.at(t, strings.Replace(layer, "/overlay/", "/overlay-layers/", 1)+"/=enN0ZC1jaHVua2VkLW1hbmlmZXN0")] = func([]byte) []byte { return []byte(`{"entries":[{`) }
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			n := openFixture(t, "podman-chunked", Options{})
			i, err := n.FindImage("localhost:5000/web:1")
			if err != nil {
				t.Fatal(err)
			}
			lower := i.Rootfs.Lower
			f := newTampered(i.store.Tree)
			c.change(f, strings.TrimSuffix(lower[len(lower)-1].Dir, "/diff"))
			i.store.Tree = f
			var have []string
			unproven := 0
			if err := n.Verify(t.Context(), []*Image{i}, func(v Verdict) error {
				switch {
				case v.Check == CheckImage:
				case v.Finding():
					have = append(have, fmt.Sprintf("%s %s %s", v.Result, v.Path, v.Field))
				case v.Check == CheckTable && v.Result == ResultUnverifiable:
					unproven++
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(have, c.want) || unproven < len(lower)-1 {
				t.Errorf("%d layers only agree; findings:\n have %q\n want %q", unproven, have, c.want)
			}
		})
	}
}
