package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// live lets a containerd make and remove the containers. Its data root is on the disk.
func live(rnd *rand.Rand, dir, top string, s scenario, further int) (all, gone []container, err error) {
	config := filepath.Join(dir, "config.toml")
	text := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = %q\n",
		filepath.Join(top, root), filepath.Join(dir, "state"), filepath.Join(dir, "sock"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, nil, err
	}
	daemon := exec.Command("containerd", "--config", config)
	if err := daemon.Start(); err != nil {
		return nil, nil, err
	}
	stop := func() error {
		return errors.Join(daemon.Process.Signal(os.Interrupt), ignoreExit(daemon.Wait()))
	}
	defer func() { err = errors.Join(err, stop()) }()
	ctr := func(args ...string) error {
		return command("ctr", append([]string{"-a", filepath.Join(dir, "sock"), "-n", "k8s.io"}, args...)...)
	}
	for try := 0; ctr("version") != nil; try++ {
		if time.Sleep(100 * time.Millisecond); try > 100 {
			return nil, nil, errors.New("containerd does not answer")
		}
	}
	for _, name := range images[:2] {
		archive := filepath.Join(dir, "image.tar")
		if err := writeImage(archive, name); err != nil {
			return nil, nil, err
		}
		if err := ctr("images", "import", "--no-unpack", archive); err != nil {
			return nil, nil, err
		}
		if err := ctr("images", "import", "--snapshotter", "native", archive); err != nil {
			return nil, nil, err
		}
	}
	create := func() (container, error) {
		b := make([]byte, 32)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		c := container{id: hex.EncodeToString(b), image: images[rnd.IntN(2)]}
		return c, ctr("containers", "create", "--snapshotter", "native", c.image, c.id, "/app")
	}
	for range s.of {
		c, err := create()
		if err != nil {
			return nil, nil, err
		}
		all = append(all, c)
	}
	for _, i := range rnd.Perm(len(all))[:s.remove] {
		if err := ctr("containers", "delete", all[i].id); err != nil {
			return nil, nil, err
		}
		gone = append(gone, all[i])
	}
	for range further {
		if err := ctr("leases", "create"); err != nil {
			return nil, nil, err
		}
	}
	return all, gone, nil
}

func ignoreExit(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// writeImage writes an image of one file in the form of docker save.
func writeImage(path, name string) error {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "app", Mode: 0o755, Size: int64(len(name))}), writeTo(w, name), w.Close()); err != nil {
		return err
	}
	sum := sha256.Sum256(layer.Bytes())
	config := fmt.Sprintf(`{"architecture":"amd64","os":"linux","config":{"Cmd":["/app"]},"rootfs":{"type":"layers","diff_ids":["sha256:%x"]},"history":[{"created_by":%q}]}`, sum, name)
	var out bytes.Buffer
	w = tar.NewWriter(&out)
	for _, f := range []struct{ name, text string }{{"layer.tar", layer.String()}, {"config.json", config},
		{"manifest.json", fmt.Sprintf(`[{"Config":"config.json","RepoTags":[%q],"Layers":["layer.tar"]}]`, name)}} {
		if err := errors.Join(w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.text))}), writeTo(w, f.text)); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, out.Bytes(), 0o600)
}

func writeTo(w *tar.Writer, text string) error {
	_, err := w.Write([]byte(text))
	return err
}
