package timeline

import (
	"embed"
	"path"

	"lagan/internal/text"
)

// Companion is a file that goes with a timeline: it tells Timesketch or
// Elasticsearch what the fields mean.
type Companion struct {
	Name    string
	Content []byte
}

//go:embed companion
var companionFiles embed.FS

// Companions returns tags.yaml for Timesketch's tagger, sigma_config.yaml for its
// sigma analyzer, saved_searches.yaml, and ecs-index-template.json.
func Companions() []Companion {
	var out []Companion
	entries, _ := companionFiles.ReadDir("companion") // built in: it is there
	for _, e := range entries {
		b, _ := companionFiles.ReadFile(path.Join("companion", e.Name()))
		out = append(out, Companion{e.Name(), b})
	}
	return append(out, Companion{"ecs-index-template.json", ecsTemplate()})
}

// ecsTemplate is an index template that has exactly the places that documents
// of the ECS format have, each with one type.
func ecsTemplate() []byte {
	n := nest{b: append([]byte(nil), `{"index_patterns":["`+ecsIndex+`*"],"template":{"settings":{"index":{"mapping":{"total_fields":{"limit":2000}}}},"mappings":`...)}
	body := nest{}
	body.begin()
	for i := range ecsRows {
		r := &ecsRows[i]
		body.at = properties(r.path)
		body.key()
		typ := ecsTypeOf(r)
		body.b = text.AppendJSON(append(body.b, `{"type":`...), typ)
		if typ == "date_nanos" {
			// Its range is 1970 to 2262: what lies outside keeps its place in the document.
			body.b = append(body.b, `,"ignore_malformed":true`...)
		}
		body.b = append(body.b, '}')
	}
	body.end()
	return append(append(n.b, body.b...), "}}\n"...)
}

// properties is a path as mappings nest it.
func properties(p []string) []string {
	var out []string
	for _, name := range p {
		out = append(out, "properties", name)
	}
	return out
}

// ecsDates, ecsAddresses and ecsTexts are places whose type isn't that of a
// field, or is more than that.
var (
	ecsDates     = map[string]bool{"@timestamp": true, "file.accessed": true, "file.created": true, "file.ctime": true, "file.mtime": true}
	ecsAddresses = map[string]bool{"source.ip": true, "destination.ip": true, "related.ip": true}
	ecsTexts     = map[string]bool{"message": true, "error.message": true, "lagan.body": true, "lagan.message_body": true}
)

// ecsTypeOf is the type of a place: ECS's own where it has the place.
func ecsTypeOf(r *ecsRow) string {
	name := join(r.path)
	switch {
	case ecsDates[name]:
		return "date_nanos"
	case ecsAddresses[name]:
		return "ip"
	case ecsTexts[name]:
		return "match_only_text"
	}
	for _, from := range r.from {
		switch {
		case from.kind == asNumber, from.kind == asIs && fieldTypes[from.field] == typeInt:
			return "long"
		case fieldTypes[from.field] == typeBool:
			return "boolean"
		}
	}
	return "keyword"
}

func join(p []string) string {
	s := p[0]
	for _, name := range p[1:] {
		s += "." + name
	}
	return s
}
