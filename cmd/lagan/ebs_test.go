//go:build ebs

package main

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"lagan/evidence/image/ebs/ebstest"
	"lagan/fixtures"
)

const testSnapshot = "snap-0123456789abcdef0"

// cloudOf serves a disk as a snapshot, and points AWS's variables there.
func cloudOf(t *testing.T, disk string) (*ebstest.Server, string) {
	t.Helper()
	f, err := os.Open(fixtures.Disk(t, disk))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	s := &ebstest.Server{Snapshot: testSnapshot, Disk: f, Size: st.Size()}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_EBS": web.URL, "AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example",
		"AWS_CONFIG_FILE": "/none", "AWS_SHARED_CREDENTIALS_FILE": "/none", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	return s, f.Name()
}

// sameDisk is the disk as a file of the snapshot's name, and as large as whole
// gibibytes, which is what the service serves.
func sameDisk(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), testSnapshot)
	if out, err := exec.Command("cp", "--sparse=always", name, path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Truncate(path, 1<<30); err != nil {
		t.Fatal(err)
	}
	return path
}

// program runs this program, confined.
func program(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	link := filepath.Join(t.TempDir(), "lagan")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	cmd := exec.Command(link, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// TestEBSTimeline has the timeline of a snapshot be the timeline of its disk,
// with a part of the blocks, whatever the service does.
func TestEBSTimeline(t *testing.T) {
	s, disk := cloudOf(t, "eks-xfs")
	want, _, code := program(t, "timeline", sameDisk(t, disk), "-q")
	if code != exitOK || len(want) < 1<<20 {
		t.Fatalf("exit %d, %d bytes", code, len(want))
	}
	s.Throttle, s.Break, s.Cut, s.Damage, s.Renew = 17, 23, 29, 31, 37
	cache := t.TempDir()
	got, said, code := program(t, "timeline", "ebs:"+testSnapshot, "--cache", cache)
	if got != want || code != exitOK {
		t.Errorf("exit %d, %d bytes of %d: %s", code, len(got), len(want), said)
	}
	m := regexp.MustCompile(`(?m)^lagan: ` + testSnapshot + `: (\d+) of 2048 blocks of 512 KiB fetched \([0-9.]+ MiB\), 0 kept from before, \d+ requests for lists, ([1-9]\d*) requests made again$`).FindStringSubmatch(said)
	if m == nil {
		t.Fatalf("said: %s", said)
	}
	fetched, _ := strconv.Atoi(m[1])
	times, different := s.Blocks()
	if fetched != different || times != different {
		t.Errorf("%d blocks are told, %d were delivered, %d of them different", fetched, times, different)
	}
	if n := s.Unsigned(); n > 0 {
		t.Errorf("%d requests have no signature", n)
	}
	if all := s.Existing(); fetched >= all*3/4 {
		t.Errorf("%d of the %d blocks that the snapshot has were fetched for the timeline", fetched, all)
	} else {
		t.Logf("%d of the %d blocks that the snapshot has were fetched for the timeline", fetched, all)
	}

	// Once more without the service.
	t.Setenv("AWS_ENDPOINT_URL_EBS", "http://127.0.0.1:1")
	got, said, code = program(t, "timeline", "ebs:eu-west-1/"+testSnapshot, "--cache", cache)
	if got != want || code != exitOK || !strings.Contains(said, " 0 of 2048 blocks of 512 KiB fetched (0.0 MiB), "+m[1]+" kept from before, 0 requests for lists") {
		t.Errorf("from the cache: exit %d, %d bytes of %d: %s", code, len(got), len(want), said)
	}
}

// TestEBSConfined has the process open what it needs and nothing else.
func TestEBSConfined(t *testing.T) {
	_, _ = cloudOf(t, "podman-ext4")
	out, said, code := program(t, "info", "ebs:"+testSnapshot, "-v")
	if code != exitOK || !strings.Contains(out, "ebs") {
		t.Errorf("exit %d: %s%s", code, out, said)
	}
	if all := out + said; !strings.Contains(all, "connects to the ports [443 80 53 ") && !strings.Contains(all, "no landlock") {
		t.Errorf("confined by: %s", all)
	}
}

// TestEBSDenied says what is wrong, and soon.
func TestEBSDenied(t *testing.T) {
	s, _ := cloudOf(t, "podman-ext4")
	s.Deny = true
	if _, said, code := program(t, "info", "ebs:"+testSnapshot); code != exitFailed || !strings.Contains(said, "denies access") || !strings.Contains(said, "AccessDeniedException") {
		t.Errorf("exit %d: %s", code, said)
	}
	s.Deny = false
	if _, said, code := program(t, "info", "ebs:snap-00000000"); code != exitFailed || !strings.Contains(said, "SNAPSHOT_NOT_FOUND") && !strings.Contains(said, "ResourceNotFoundException") {
		t.Errorf("exit %d: %s", code, said)
	}
	t.Setenv("AWS_REGION", "")
	if _, said, code := program(t, "info", "ebs:"+testSnapshot); code != exitFailed || !strings.Contains(said, "no region is set") {
		t.Errorf("exit %d: %s", code, said)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	if _, said, code := program(t, "info", "ebs:eu-west-1/"+testSnapshot); code != exitFailed || !strings.Contains(said, "no credentials") {
		t.Errorf("exit %d: %s", code, said)
	}
}

// TestEBSBatch has snapshots in a manifest.
func TestEBSBatch(t *testing.T) {
	s, _ := cloudOf(t, "podman-ext4")
	dir := t.TempDir()
	manifest := filepath.Join(dir, "manifest")
	if err := os.WriteFile(manifest, []byte("ebs:eu-central-1/"+testSnapshot+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"batch", manifest, "-o", filepath.Join(dir, "out"), "--tasks", "containers"}
	if out, said, code := program(t, args...); code != exitOK || !strings.Contains(out, testSnapshot+"  done") {
		t.Errorf("exit %d: %s%s", code, out, said)
	}
	b, err := os.ReadFile(filepath.Join(dir, "out", testSnapshot, "run.json"))
	if err != nil || !bytes.Contains(b, []byte(`"fetched": [`)) {
		t.Errorf("%s, %v", b, err)
	}
	before, _ := s.Blocks()
	if out, said, code := program(t, args...); code != exitOK || !strings.Contains(out, testSnapshot+"  skipped") {
		t.Errorf("exit %d: %s%s", code, out, said)
	}
	if after, _ := s.Blocks(); after != before {
		t.Errorf("%d blocks more for what was done", after-before)
	}
}

// TestEBSPage runs the transcripts of the page on snapshots.
func TestEBSPage(t *testing.T) {
	cloudOf(t, "eks-xfs")
	path, err := filepath.Abs("../../scripts/ebs/README.md")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	page, commands := runPage(t, string(b), "$ lagan-ebs ")
	if commands < 2 {
		t.Errorf("only %d commands were run", commands)
	}
	if *update {
		if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEBSFetch has the script bring the whole disk, over failures, and go on where it was ended.
func TestEBSFetch(t *testing.T) {
	for _, tool := range []string{"curl", "jq", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI_REQUIRE_TOOLS") == "1" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	s, disk := cloudOf(t, "podman-ext4")
	s.Throttle, s.Cut, s.Damage = 97, 61, 7 // curl waits a second before it asks again
	script, err := filepath.Abs("../../scripts/ebs/fetch.sh")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile("disk.img.have", []byte("0\n"), 0o600); err != nil { // as if that had been there
		t.Fatal(err)
	}
	out, err := exec.Command(script, testSnapshot, "disk.img").CombinedOutput()
	if err != nil || !bytes.Contains(out, fmt.Appendf(nil, "disk.img: 1 GiB, %d blocks\n", s.Existing())) {
		t.Fatalf("%v: %s", err, out)
	}
	out, err = exec.Command("cmp", "--ignore-initial=524288", sameDisk(t, disk), "disk.img").CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
