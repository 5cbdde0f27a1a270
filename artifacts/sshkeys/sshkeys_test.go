package sshkeys

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lagan/internal/needs"
)

// Ed25519 keys that were made for this test.
const (
	first  = "AAAAC3NzaC1lZDI1NTE5AAAAIJ8q0b9oJ3kqV4m0pQ5xS7cV2Jt1b8y7hQ0m3g2hJ1aB"
	second = "AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"
)

func TestAuthorized(t *testing.T) {
	text := "# keys\n\nssh-ed25519 " + first + " root@kali x\n" +
		`command="echo \"a b\"",no-pty ssh-ed25519 ` + second + "\nnot a key\nssh-ed25519 !!!\n"
	var got strings.Builder
	for k, err := range Authorized(strings.NewReader(text)) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%d|%s|%s|%s|%.12s\n", k.Offset, k.Options, k.Type, k.Comment, k.Fingerprint)
	}
	want := "8||ssh-ed25519|root@kali x|SHA256:" + fingerprint(t, first)[:5] + "\n101|" + `command="echo \"a b\"",no-pty|ssh-ed25519||SHA256:` + fingerprint(t, second)[:5] + "\n" + fmt.Sprintf("%d||||\n%d||ssh-ed25519||\n", strings.Index(text, "not a"), strings.Index(text, "ssh-ed25519 !!!"))
	if got.String() != want {
		t.Errorf("%s, not %s", &got, want)
	}
}

// fingerprint asks ssh-keygen, where it is installed.
func fingerprint(t *testing.T, key string) string {
	t.Helper()
	tool := needs.Tool(t, "ssh-keygen")
	name := filepath.Join(t.TempDir(), "k.pub")
	if err := os.WriteFile(name, []byte("ssh-ed25519 "+key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tool, "-l", "-f", name).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_, after, _ := strings.Cut(string(out), "SHA256:")
	return after
}

func TestKnown(t *testing.T) {
	text := "203.0.113.7,host.example ssh-ed25519 " + first + "\n[10.0.0.9]:2222 ssh-ed25519 " + second + " c\n" +
		"|1|JfKTdBh7rNbXkVAQCRp4OQoPfmI=|USECr3SWf1JUPsms5AqfD5QfxkM= ssh-ed25519 " + first + "\n@revoked * ssh-ed25519 " + second + "\nx\n"
	var got strings.Builder
	for k, err := range Known(strings.NewReader(text)) {
		if err != nil {
			t.Fatal(err)
		}
		h, _, _ := strings.Cut(k.Hosts, ",")
		host, port := Host(h)
		fmt.Fprintf(&got, "%s|%s|%s|%s ", k.Marker, host, port, k.Type)
	}
	if want := "|203.0.113.7||ssh-ed25519 |10.0.0.9|2222|ssh-ed25519 |||ssh-ed25519 @revoked|*||ssh-ed25519 ||| "; got.String() != want {
		t.Errorf("%q, not %q", &got, want)
	}
}

func FuzzKeys(f *testing.F) {
	f.Add("ssh-ed25519 " + first + " a\n")
	f.Add("@revoked [h]:22 ssh-ed25519 " + second + "\n")
	f.Fuzz(func(t *testing.T, s string) {
		for k, err := range Authorized(strings.NewReader(s)) {
			if err == nil && (k.Text == "" || k.Fingerprint != "" && (k.Type == "" || !strings.HasPrefix(k.Fingerprint, "SHA256:"))) {
				t.Errorf("%+v", k)
			}
		}
		for k, err := range Known(strings.NewReader(s)) {
			if err == nil && k.Text == "" {
				t.Errorf("%+v", k)
			}
			Host(k.Hosts)
		}
	})
}
