//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const dockerRoot = "docker/var/lib/docker"

// short is the name that the driver overlay2 gives a folder in l/.
func short(folder string) string { return strings.ToUpper(hex("short %s", folder)[:26]) }

// writeDocker writes images and containers of the driver overlay2.
func writeDocker(n node) error {
	names := make(map[string]map[string]string)
	for i := range n.images {
		raw, id := n.config(i)
		if err := n.write(dockerRoot+"/image/overlay2/imagedb/content/sha256/"+id[7:], raw); err != nil {
			return err
		}
		repository, _, _ := strings.Cut(imageName(i), ":")
		names[repository] = map[string]string{imageName(i): id}
		if err := n.dockerLayers(i); err != nil {
			return err
		}
	}
	repositories, _ := json.Marshal(map[string]any{"Repositories": names})
	if err := n.write(dockerRoot+"/image/overlay2/repositories.json", repositories); err != nil {
		return err
	}
	for i := range n.containers {
		if err := n.dockerContainer(i); err != nil {
			return err
		}
	}
	return nil
}

func (n node) dockerLayers(image int) error {
	diffs, chains := n.chains(image)
	for l, chain := range chains {
		at := dockerRoot + "/image/overlay2/layerdb/sha256/" + chain[7:]
		cache := hex("folder of %s", chain)
		files := map[string]string{"diff": diffs[l], "cache-id": cache, "size": "12345"}
		if l > 0 {
			files["parent"] = chains[l-1]
		}
		for name, text := range files {
			if err := n.write(at+"/"+name, []byte(text)); err != nil {
				return err
			}
		}
		var lower []string
		for below := l - 1; below >= 0; below-- {
			lower = append(lower, "l/"+short(hex("folder of %s", chains[below])))
		}
		if err := n.overlay2(cache, lower); err != nil {
			return err
		}
		if err := n.layerFiles(dockerRoot+"/overlay2/"+cache+"/diff", l); err != nil {
			return err
		}
	}
	return nil
}

// overlay2 writes a folder of the driver with its link and what lies below.
func (n node) overlay2(folder string, lower []string) error {
	at := dockerRoot + "/overlay2/" + folder
	if err := n.write(at+"/link", []byte(short(folder))); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(n.dir, at, "diff"), 0o755); err != nil {
		return err
	}
	if len(lower) > 0 {
		if err := n.write(at+"/lower", []byte(strings.Join(lower, ":"))); err != nil {
			return err
		}
	}
	links := filepath.Join(n.dir, dockerRoot, "overlay2/l")
	if err := os.MkdirAll(links, 0o755); err != nil {
		return err
	}
	return os.Symlink("../"+folder+"/diff", filepath.Join(links, short(folder)))
}

func (n node) dockerContainer(i int) error {
	image := i % n.images
	_, imageID := n.config(image)
	_, chains := n.chains(image)
	id := hex("container %d", i)
	config, _ := json.Marshal(map[string]any{
		"ID": id, "Name": fmt.Sprintf("/app-%d", i), "Created": began, "Path": "serve", "Args": []string{"--port", "80"}, "Image": imageID, "Driver": "overlay2",
		"State":       map[string]any{"Running": true, "Pid": 1000 + i, "StartedAt": began},
		"Config":      map[string]any{"Hostname": id[:12], "Env": []string{"A=" + filler(1500)}, "Image": imageName(image), "Labels": map[string]string{"com.docker.compose.project": "p"}},
		"LogPath":     "/var/lib/docker/containers/" + id + "/" + id + "-json.log",
		"MountPoints": map[string]any{"/data": map[string]any{"Type": "volume", "Name": "v", "Destination": "/data", "RW": true}},
	})
	host, _ := json.Marshal(map[string]any{"NetworkMode": "bridge", "LogConfig": map[string]any{"Type": "json-file"}, "MaskedPaths": []string{filler(500)}})
	mount := hex("mount of %s", id)
	at := dockerRoot + "/image/overlay2/layerdb/mounts/" + id
	for name, data := range map[string][]byte{
		dockerRoot + "/containers/" + id + "/config.v2.json":  config,
		dockerRoot + "/containers/" + id + "/hostconfig.json": host,
		at + "/mount-id": []byte(mount), at + "/init-id": []byte(mount + "-init"), at + "/parent": []byte(chains[len(chains)-1]),
	} {
		if err := n.write(name, data); err != nil {
			return err
		}
	}
	var lower []string
	for l := len(chains) - 1; l >= 0; l-- {
		lower = append(lower, "l/"+short(hex("folder of %s", chains[l])))
	}
	if err := n.overlay2(mount+"-init", lower); err != nil {
		return err
	}
	if err := n.overlay2(mount, append([]string{"l/" + short(mount+"-init")}, lower...)); err != nil {
		return err
	}
	return n.upperFiles(dockerRoot+"/overlay2/"+mount+"/diff", i)
}
