package analyzer

import (
	"testing"

	"lagan/runtimes"
)

func TestInstruction(t *testing.T) {
	for by, want := range map[string]string{
		`/bin/sh -c #(nop)  CMD ["nginx" "-g" "daemon off;"]`:     `CMD ["nginx", "-g", "daemon off;"]`,
		`/bin/sh -c #(nop) ADD file:ab12 in / `:                   `ADD file:ab12 /`,
		`/bin/sh -c #(nop) COPY multi:ab in /a in b/ `:            `COPY multi:ab in /a b/`,
		`/bin/sh -c apt-get update`:                               `RUN apt-get update`,
		`|2 A=1 B=two words /bin/sh -c make`:                      "# with build arguments: A=1 B=two words\nRUN make",
		`|0 /bin/sh -c make`:                                      `RUN make`,
		`RUN /bin/sh -c make # buildkit`:                          `RUN make`,
		`RUN |1 A=1 /bin/sh -c make # buildkit`:                   "# with build arguments: A=1\nRUN make",
		`COPY go.mod /src # buildkit`:                             `COPY go.mod /src`,
		`EXPOSE map[80/tcp:{} 443/tcp:{}]`:                        `EXPOSE 80/tcp 443/tcp`,
		`/bin/sh -c #(nop)  ENTRYPOINT ["/docker-entrypoint.sh"]`: `ENTRYPOINT ["/docker-entrypoint.sh"]`,
		`CMD ["sh"]`:                            `CMD ["sh"]`,
		`/usr/local/tomcat/bin/catalina.sh run`: `# /usr/local/tomcat/bin/catalina.sh run`,
		``:                                      `# a step that the history doesn't tell`,
		`| nothing`:                             `# | nothing`,
		"RUN /bin/sh -c echo a\necho b # buildkit":                     "RUN echo a\necho b",
		`/bin/sh -c #(nop) `:                                           `# a step that the history doesn't tell`,
		`/bin/sh -c #(nop)  EXPOSE 80`:                                 `EXPOSE 80`,
		`/bin/sh -c #(nop)  LABEL a=b`:                                 `LABEL a=b`,
		`/bin/sh -c #(nop) WORKDIR /usr/local/tomcat`:                  `WORKDIR /usr/local/tomcat`,
		`/bin/sh -c #(nop)  HEALTHCHECK &{["CMD-SHELL" "true"] "30s"}`: `HEALTHCHECK &{["CMD-SHELL" "true"] "30s"}`,
	} {
		s := Step{History: runtimes.History{CreatedBy: by}}
		if have := s.Instruction(); have != want {
			t.Errorf("%q: have %q, want %q", by, have, want)
		}
	}
}

func TestSteps(t *testing.T) {
	i := &Image{Image: runtimes.Image{
		Layers: []string{"sha256:a", "sha256:b", "sha256:c"},
		History: []runtimes.History{
			{CreatedBy: "first", DiffID: "sha256:a"}, {CreatedBy: "none", Empty: true}, {CreatedBy: "second", DiffID: "sha256:b"},
		},
		Rootfs: runtimes.Rootfs{Kind: runtimes.RootfsOverlay, Lower: []runtimes.Layer{{Dir: "/c", Size: 3}, {Dir: "/b", Size: -1}, {Dir: "/a", Size: 1}}},
	}}
	want := []Step{{Number: 1, Layer: "sha256:a", Size: 1, Dir: "/a"}, {Number: 2}, {Number: 3, Layer: "sha256:b", Size: -1, Dir: "/b"}, {Number: 4, Layer: "sha256:c", Size: 3, Dir: "/c"}}
	for k, s := range i.Steps() {
		if w := want[k]; s.Number != w.Number || s.Layer != w.Layer || s.Size != w.Size || s.Dir != w.Dir {
			t.Errorf("have %+v, want %+v", s, w)
		}
	}
	i.Rootfs.Lower = nil
	if s := i.Steps(); s[0].Size != -1 || s[1].Size != 0 || s[0].Dir != "" {
		t.Errorf("not unpacked: %+v", s)
	}
}
