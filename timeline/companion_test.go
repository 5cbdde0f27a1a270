package timeline

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

func companion(t *testing.T, name string) string {
	t.Helper()
	for _, c := range Companions() {
		if c.Name == name {
			return string(c.Content)
		}
	}
	t.Fatalf("no %s", name)
	return ""
}

// TestTemplateFitsDocuments looks up each value of documents in the template.
func TestTemplateFitsDocuments(t *testing.T) {
	var template struct {
		Patterns []string `json:"index_patterns"`
		Template struct {
			Mappings map[string]any `json:"mappings"`
		} `json:"template"`
	}
	if err := json.Unmarshal([]byte(companion(t, "ecs-index-template.json")), &template); err != nil {
		t.Fatal(err)
	}
	_, docs := documents(t, write(t, ECS, Options{}, story))
	values := 0
	var check func(path string, value any, mapping map[string]any)
	check = func(path string, value any, mapping map[string]any) {
		if m, ok := value.(map[string]any); ok {
			properties, _ := mapping["properties"].(map[string]any)
			for k, v := range m {
				below, ok := properties[k].(map[string]any)
				if !ok {
					t.Errorf("%s.%s is not in the template", path, k)
					continue
				}
				check(path+"."+k, v, below)
			}
			return
		}
		values++
		if l, ok := value.([]any); ok && len(l) > 0 {
			value = l[0]
		}
		_, isNumber := value.(json.Number)
		_, isBool := value.(bool)
		if typ := mapping["type"]; isNumber != (typ == "long") || isBool != (typ == "boolean") {
			t.Errorf("%s: %v has the type %v", path, value, typ)
		}
	}
	for _, d := range docs {
		check("", d, template.Template.Mappings)
	}
	if values < 50 {
		t.Errorf("only %d values", values)
	}
}

// TestCompanionsNameWhatThereIs keeps kinds and fields of the searches true.
func TestCompanionsNameWhatThereIs(t *testing.T) {
	kinds := strings.Join(kindNames(), " ") + " "
	for _, name := range []string{"tags.yaml", "saved_searches.yaml", "sigma_config.yaml"} {
		body := companion(t, name)
		named := regexp.MustCompile(`data_type:\s*(?:\(([^)]*)\)|("[^"]*")|((?:\s*- "[^"]*")+))`).FindAllStringSubmatch(body, -1)
		if len(named) < 5 {
			t.Errorf("%s: %d kinds", name, len(named))
		}
		for _, m := range named {
			for _, k := range regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(m[1]+m[2]+m[3], -1) {
				if !strings.Contains(kinds, k[1]+" ") {
					t.Errorf("%s: no kind is called %q", name, k[1])
				}
			}
		}
		for _, q := range regexp.MustCompile(`query_string: '([^']*)'`).FindAllStringSubmatch(body, -1) {
			fields := regexp.MustCompile(`([a-z_]+):`).FindAllStringSubmatch(regexp.MustCompile(`"[^"]*"`).ReplaceAllString(q[1], ""), -1)
			for _, f := range fields {
				switch f[1] {
				case "data_type", "timestamp_desc", "_exists_":
				default:
					if fieldByName(f[1]) == 0 {
						t.Errorf("%s: no field is called %q: %s", name, f[1], q[1])
					}
				}
			}
		}
	}
	mapping := regexp.MustCompile(`(?m)^  [\w.-]+: (\w+)$`).FindAllStringSubmatch(companion(t, "sigma_config.yaml"), -1)
	for _, m := range mapping {
		if !strings.Contains("es-dsl", m[1]) && fieldByName(m[1]) == 0 {
			t.Errorf("sigma: no field is called %q", m[1])
		}
	}
	if len(mapping) < 20 {
		t.Errorf("%d fields are mapped", len(mapping))
	}
}
