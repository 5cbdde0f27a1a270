package node

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestFlatten(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"kubeconfig", `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: xx
    server: https://10.0.0.1:6443 # here
  name: "prod"
users:
- name: 'system:node:n1'
  user:
    exec:
      args:
        - eks
        - --cluster-name
        - c1
      command: aws
current-context: c
`, "apiVersion=v1 clusters.cluster.certificate-authority-data=xx clusters.cluster.server=https://10.0.0.1:6443 clusters.name=prod current-context=c users.name=system:node:n1 users.user.exec.args=--cluster-name,c1,eks users.user.exec.command=aws"},
		{"JSON", `{"a":{"b":[{"c":"x"},{"c":"y"}]},"n":7,"t":true,"z":null}`, "a.b.c=x,y n=7 t=true"},
		{"texts over several lines", "a: |\n  b: 1\n  c\nd: >-\n  e\nf: [x, 'y']\n", "d=  f=x,y"},
		{"indented list", "a:\n    - b: 1\n      c: 2\n    - b: 3\nd: 4\n", "a.b=1,3 a.c=2 d=4"},
		{"documents", "a: 1\n---\nb:\n  c: 2\n", "a=1 b.c=2"},
		{"nonsense", ": :\n-\n- - -\n\"\n", ""},
	} {
		f := Flatten(c.text)
		var got []string
		for _, k := range slices.Sorted(maps.Keys(f)) {
			got = append(got, k+"="+strings.Join(slices.Sorted(slices.Values(f[k])), ","))
		}
		want := strings.ReplaceAll(strings.ReplaceAll(c.want, "d=  ", ""), "  ", " ")
		if s := strings.Join(got, " "); s != want && c.want != "" {
			t.Errorf("%s: %s\nwant %s", c.name, s, want)
		}
	}
}

func FuzzFlatten(f *testing.F) {
	f.Add("a:\n- b: c\n  - d\n")
	f.Add(`{"a":[1,{"b":"c"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		for place, values := range Flatten(text) {
			if place == "" || len(values) == 0 {
				t.Errorf("%q: %q", place, values)
			}
		}
	})
}
