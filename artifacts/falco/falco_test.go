package falco

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"lagan/evidence"
)

// shell is an alert as Falco's documentation shows them, with the fields of its rule.
const shell = `{"hostname":"node-1","output":"09:24:40.000000001: Notice A shell was spawned in a container with an attached terminal (user=root container=web)","priority":"Notice","rule":"Terminal shell in container","source":"syscall","tags":["container","mitre_execution","shell"],"time":"2026-11-22T09:24:40.000000001Z","output_fields":{"container.id":"a8666bc29f51","container.image.repository":"docker.io/library/nginx","container.image.tag":"1.25.3","container.name":"nginx","evt.time":1795339480000000001,"k8s.ns.name":"default","k8s.pod.name":"web-0","proc.cmdline":"sh -i","proc.name":"sh","proc.pid":4242,"proc.tty":34816,"user.name":"root","user.loginuid":-1}}`

func TestRead(t *testing.T) {
	host := strings.NewReplacer(`"container.id":"a8666bc29f51"`, `"container.id":"host"`, `"time":"2026-11-22T09:24:40.000000001Z"`, `"time":7`).Replace(shell)
	text := "Fri Nov 22 09:00:00 2026: Falco version: 0.39.2\n" + shell + "\n" + host + "\n{\"a\":1}\n{broken\n"
	var got strings.Builder
	for a, err := range Read(strings.NewReader(text)) {
		switch {
		case errors.Is(err, evidence.ErrFormat):
			got.WriteString("format\n")
		case errors.Is(err, evidence.ErrCorrupt):
			got.WriteString("corrupt\n")
		case err != nil:
			t.Error(err)
		default:
			fmt.Fprintln(&got, a.Offset, a.Time.UnixNano(), a.Rule, a.Priority, a.ContainerID, a.ContainerName, a.Image, a.Namespace, a.Pod, a.User, a.Command, a.PID, len(a.Tags))
		}
	}
	rest := " docker.io/library/nginx:1.25.3 default web-0 root sh -i 4242 3\n"
	want := "48 1795339480000000001 Terminal shell in container Notice a8666bc29f51 nginx" + rest + fmt.Sprintf("%d 1795339480000000001 Terminal shell in container Notice  ", 49+len(shell)) + rest + "format\ncorrupt\n"
	if got.String() != want {
		t.Errorf("%s, not %s", &got, want)
	}
	if !Is([]byte(shell)) || Is([]byte(`{"rule":1}`)) || Is(nil) {
		t.Error("Is")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(shell + "\n")
	f.Fuzz(func(t *testing.T, s string) {
		for a, err := range Read(strings.NewReader(s)) {
			if err == nil && (a.Rule == "" || a.Output == "") {
				t.Errorf("%+v", a)
			}
		}
	})
}
