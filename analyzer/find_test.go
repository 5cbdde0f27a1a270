package analyzer

import (
	"path"
	"slices"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/findings"
	"lagan/fixtures"
	"lagan/internal/needs"
	"lagan/timeline"
)

// story is what a fixture's truth says that the attack left.
type story struct {
	Compromised string                       `json:"compromised_container"`
	Name        string                       `json:"compromised"` // podman's
	Files       []string                     `json:"compromised_files"`
	Deleted     []string                     `json:"deleted_in_container"`
	NodeFiles   []string                     `json:"node_files"`
	Exited      string                       `json:"exited_container"`
	Features    string                       `json:"features_container"`
	Redis       string                       `json:"redis_container"`
	HostPath    string                       `json:"hostpath_container"`
	Sandbox     string                       `json:"web_sandbox"`
	Removed     string                       `json:"removed_container"` // an id, or a name
	Committed   string                       `json:"committed_image"`
	Volume      string                       `json:"volume_file"` // "VOLUME: FILE"
	Secret      struct{ Image, Path string } `json:"secret_in_layer"`
}

func findingsOf(t *testing.T, n *Node) []*findings.Finding {
	t.Helper()
	all, err := n.Findings(t.Context(), FindOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestScenario holds what the truth says of the attack against the findings:
// each item must be the evidence of one, or lie in a folder that is.
func TestScenario(t *testing.T) {
	needs.Time(t)
	for _, name := range fixtures.Names {
		t.Run(name, func(t *testing.T) {
			n := openFixture(t, name, Options{})
			var truth struct {
				Scenario story `json:"scenario"`
			}
			fixtures.Truth(t, name, &truth)
			s := truth.Scenario
			all := findingsOf(t, n)
			container := firstOf(s.Compromised, s.Name)
			for _, p := range append(slices.Clone(s.Files), s.Deleted...) {
				if !found(all, func(e *findings.Evidence) bool {
					return e.Container != nil && (e.Container.ID == container || e.Container.Name == container) && covers(e.Path, p)
				}) {
					t.Errorf("no finding about %s of the compromised container", p)
				}
			}
			for _, p := range s.NodeFiles {
				if !found(all, func(e *findings.Evidence) bool { return strings.HasPrefix(e.Place, "NODE:") && covers(e.Path, p) }) {
					t.Errorf("no finding about %s of the node", p)
				}
			}
			for _, id := range []string{s.Compromised, s.Exited, s.Features, s.Redis, s.HostPath} {
				if id != "" && !found(all, func(e *findings.Evidence) bool { return e.Container != nil && e.Container.ID == id }) {
					t.Errorf("no finding about container %s", id)
				}
			}
			if s.Sandbox != "" && !found(all, func(e *findings.Evidence) bool { return e.Container != nil && e.Container.Sandbox == s.Sandbox }) {
				t.Errorf("no finding about the pod of sandbox %s", s.Sandbox)
			}
			checkObjects(t, all, &s)
		})
	}
}

func checkObjects(t *testing.T, all []*findings.Finding, s *story) {
	if s.Committed != "" && !slices.ContainsFunc(all, func(f *findings.Finding) bool { return f.Rule.ID == "image-committed" && f.Image == s.Committed }) {
		t.Errorf("image %s is not said to be made from a container", s.Committed)
	}
	if s.Secret.Path != "" && !slices.ContainsFunc(all, func(f *findings.Finding) bool {
		return f.Rule.ID == "secret-in-layer" && f.Image == s.Secret.Image && f.Evidence[0].Path == s.Secret.Path
	}) {
		t.Errorf("no finding about %s in a layer of %s", s.Secret.Path, s.Secret.Image)
	}
	if volume, file, ok := strings.Cut(s.Volume, ": "); ok && !found(all, func(e *findings.Evidence) bool {
		return strings.Contains(e.Path, "/"+volume+"/") && path.Base(e.Path) == file
	}) {
		t.Errorf("no finding about %s of volume %s", file, volume)
	}
	if s.Removed != "" && !found(all, func(e *findings.Evidence) bool {
		return e.Value == s.Removed || e.Field == "removed" && e.Container != nil && (e.Container.ID == s.Removed || e.Container.Name == s.Removed)
	}) {
		t.Errorf("no finding about the removed container %s", s.Removed)
	}
}

func found(all []*findings.Finding, is func(*findings.Evidence) bool) bool {
	for _, f := range all {
		for i := range f.Evidence {
			if is(&f.Evidence[i]) {
				return true
			}
		}
	}
	return false
}

// covers says whether an item is a path, in a folder, or itself a folder that what was found lies in.
func covers(evidence, item string) bool {
	return evidence == item || evidence != "/" && evidence != "" && (strings.HasPrefix(item, evidence+"/") || strings.HasPrefix(evidence, item+"/"))
}

// TestQuiet looks at the containers of the fixtures that the attack left alone:
// nothing of them may be more than of low severity.
func TestQuiet(t *testing.T) {
	needs.Time(t)
	quiet := map[string][]string{
		"docker-ext4": {"cache", "feat", "logs-local", "never-started", "oneshot", "ro-web", "shop"},
		"podman-ext4": {"cache", "feat", "oneshot", "never-started"},
		"eks-xfs":     {"qa/features-0/features", "ops-backup", "ops-created"},
	}
	for name, containers := range quiet {
		n := openFixture(t, name, Options{})
		for _, f := range findingsOf(t, n) {
			if f.Severity > findings.Low && f.Container != nil && slices.Contains(containers, f.Container.Name) {
				t.Errorf("%s: %s: %s of %s: %+v", name, f.Severity, f.Rule.ID, f.Object(), f.Evidence[0])
			}
			if f.Rule.Harmless() == "" || len(f.Evidence) == 0 {
				t.Errorf("%s: %s says too little", name, f.Rule.ID)
			}
		}
	}
}

// TestFindingRecords says that findings are records of the timeline with their
// tags, and that the same evidence gives the same ones.
func TestFindingRecords(t *testing.T) {
	needs.Time(t)
	n := openFixture(t, "podman-ext4", Options{})
	tell := func() (tags, texts []string) {
		var x timeline.Reader
		err := n.Timeline(t.Context(), TimelineOptions{Scope: ScopeAll, Find: &FindOptions{NoVerify: true}}, func(r *timeline.Record) error {
			if r.Kind() == timeline.Finding {
				if err := x.Read(r); err != nil {
					return err
				}
				texts = append(texts, x.Text(timeline.FieldRule)+" "+x.Text(timeline.FieldFilename)+" "+x.Message())
				tags = append(tags, x.List(timeline.FieldTag)...)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return tags, texts
	}
	tags, texts := tell()
	if !slices.Contains(tags, "lagan_finding") || !slices.Contains(tags, "attack_t1136_001") {
		t.Errorf("the tags are %q", tags)
	}
	if !slices.ContainsFunc(texts, func(s string) bool { return strings.HasPrefix(s, "account-uid0 /etc/passwd Finding (high)") }) {
		t.Errorf("the findings are %q", texts)
	}
	if _, again := tell(); !slices.Equal(texts, again) {
		t.Error("telling it again tells something else")
	}
}

func TestHidden(t *testing.T) {
	for p, want := range map[string]bool{
		"/tmp/.x": true, "/root/.cache/x": false, "/root/.cache/.y": true, "/usr/sbin/.dnsd": true, "/a.b/c": false, "/pods/..data/x": false,
		"/pods/..2026_11_22_09_00_00.12/x": false, "/tmp/.../x": true, "/tmp/.. /x": true, "/usr/lib64/.libcrypto.so.3.hmac": false, "/": false,
	} {
		if got := isHidden(p); got != want {
			t.Errorf("%s is hidden: %v", p, got)
		}
	}
}

func TestGained(t *testing.T) {
	plain, setuid := &evidence.Info{Perm: 0o755}, &evidence.Info{Perm: 0o4755}
	caps := map[string][]byte{"security.capability": {1}}
	for _, c := range []struct {
		now, before *evidence.Info
		has, had    map[string][]byte
		want        bool
	}{
		{setuid, nil, nil, nil, true}, {setuid, plain, nil, nil, true}, {setuid, setuid, nil, nil, false}, {plain, setuid, nil, nil, false},
		{plain, nil, caps, nil, true}, {plain, plain, caps, caps, false}, {plain, plain, nil, caps, false},
		{&evidence.Info{Perm: 0o2644}, nil, nil, nil, false}, {&evidence.Info{Perm: 0o4755, UID: 0}, &evidence.Info{Perm: 0o4755, UID: 1000}, nil, nil, true},
	} {
		if got := gained(c.now, c.has, c.before, c.had); got != c.want {
			t.Errorf("%v after %v: gained %v", c.now, c.before, got)
		}
	}
}

func TestSecretsOf(t *testing.T) {
	got := secretsOf([]string{"DB_PASSWORD=hunter2", "DB_PASSWORD_FILE=/run/secrets/x", "ALLOW_EMPTY_PASSWORD=yes", "TOKEN_TTL=3600", "API_TOKEN=/var/run/t", "AWS_SECRET_ACCESS_KEY=abc", "KEY=x", "GH_TOKEN=", "PATH=/bin"})
	if want := []string{"DB_PASSWORD=hunter2", "AWS_SECRET_ACCESS_KEY=abc"}; !slices.Equal(got, want) {
		t.Errorf("secrets %q, want %q", got, want)
	}
}
