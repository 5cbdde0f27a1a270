package analyzer

import (
	"io"
	"strings"

	"lagan/findings"
	"lagan/timeline"
)

var foundMessage = timeline.NewTemplate("Finding ({severity}): {description}: {object} {body}")

// look begins to look for findings, where they are asked for.
func (t *teller) look() (err error) {
	if t.o.Find != nil && t.o.Scope != ScopeNode {
		o := *t.o.Find
		o.Containers = t.o.Containers
		if t.find, err = newFinder(t.n, t.ctx, o); err == nil {
			t.find.begin()
		}
	}
	return err
}

// findings ends the telling with what was found on the way.
func (t *teller) findings() error {
	if t.find == nil {
		return nil
	}
	f := t.find
	if err := f.finish(); err != nil {
		return err
	}
	for _, x := range f.findings() {
		for i := range x.Evidence {
			if err := t.found(x, &x.Evidence[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// found tells one piece of evidence of a finding, at its time.
func (t *teller) found(x *findings.Finding, e *findings.Evidence) error {
	common := t.begin("findings", 0).Common()
	if e.Container != nil {
		if c := t.find.byID[e.Container.ID]; c != nil {
			common = t.containerCommon(c, "findings")
		}
	}
	t.r.Reset(timeline.Finding, common)
	if prefix, ok := strings.CutSuffix(e.Place, e.Path); ok && e.Path != "" {
		t.r.Path(prefix, e.Path)
	} else {
		t.r.String(timeline.FieldDisplayName, e.Place)
	}
	if e.Offset >= 0 {
		t.r.Int(timeline.FieldOffset, e.Offset)
	}
	r := x.Rule
	t.r.String(timeline.FieldRule, r.ID)
	t.r.String(timeline.FieldSeverity, x.Severity.String())
	t.r.String(timeline.FieldDescription, r.Title)
	t.r.String(timeline.FieldTechnique, strings.Join(r.Techniques(), " "))
	t.r.String(timeline.FieldObject, e.Place)
	t.r.String(timeline.FieldReason, r.Harmless())
	body := e.Value
	if e.Field != "" {
		body = e.Field + ": " + body
	}
	t.r.String(timeline.FieldBody, body)
	t.r.String(timeline.FieldComment, e.TimeOf)
	if e.File != nil {
		t.r.String(timeline.FieldSHA256Hash, e.File.SHA256)
	}
	tags := []string{"lagan_finding", "lagan_finding_" + x.Severity.String(), "rule_" + r.ID}
	for _, technique := range r.Techniques() {
		tags = append(tags, "attack_"+strings.ToLower(technique))
	}
	t.r.Strings(timeline.FieldTag, tags)
	t.r.Template(foundMessage)
	if !e.Time.IsZero() {
		t.r.Time(timeline.Recorded, e.Time)
	}
	return t.tell()
}

// hashed adds a file's hashes to a subject's indicators.
func (f *finder) hashed(s *findings.Subject, r *io.SectionReader, md5, sha1, sha256 bool) {
	sums, err := hashAll(r, md5, sha1, sha256)
	if err != nil {
		return
	}
	for _, h := range sums {
		if v, ok := f.in.Hash(h); ok {
			s.Set("hash", v)
		}
	}
}
