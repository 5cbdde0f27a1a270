package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// filter is one --filter.
type filter struct {
	key  string
	want string
	not  bool
	// bare asks for a label's being there.
	bare bool
	// guessed is the key as it was given where it is no field's, so that a label's is meant.
	guessed string
}

// parseFilters reads the filters. A key that is no field of the records is a
// label's, where they have labels: whether one is called so, [checkGuesses] says.
func parseFilters(texts []string, like record) ([]filter, error) {
	kind := reflect.TypeOf(like).Elem()
	fields := fieldsOf(kind)
	labelled := slices.Contains(fields, "labels")
	var out []filter
	for _, text := range texts {
		key, want, ok := strings.Cut(text, "=")
		f := filter{key: strings.TrimSpace(key), want: want}
		if !ok || f.key == "" {
			return nil, usageError{fmt.Errorf("%w, not %q", errFilter, text)}
		}
		if f.key, f.not = strings.CutSuffix(f.key, "!"); f.not {
			f.key = strings.TrimSpace(f.key)
		}
		first, _, _ := strings.Cut(f.key, ".")
		switch {
		case f.key == "label" && labelled: // as docker's: label=KEY, label=KEY=VALUE
			key, value, valued := strings.Cut(want, "=")
			f.key, f.want, f.bare = "labels."+key, value, !valued
		case slices.Contains(fields, first):
			if err := checkMembers(kind, "", f.key); err != nil {
				return nil, err
			}
		case labelled:
			f.key, f.guessed = "labels."+f.key, f.key
		default:
			return nil, noField(f.key, "field", fields)
		}
		out = append(out, f)
	}
	return out, nil
}

// checkMembers follows a key ("mounts.source") through the types of a record, as far
// as they say what there may be.
func checkMembers(t reflect.Type, within, key string) error {
	if key == "" || t == reflect.TypeFor[json.RawMessage]() {
		return nil
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return checkMembers(t.Elem(), within, key)
	case reflect.Map, reflect.Interface:
		return nil
	case reflect.Struct:
	default:
		return usageError{fmt.Errorf("--filter: %s has no parts, and none that is called %q", strings.TrimSuffix(within, "."), key)}
	}
	name, rest, _ := strings.Cut(key, ".")
	i := slices.IndexFunc(reflect.VisibleFields(t), func(f reflect.StructField) bool { return jsonName(f) == name })
	if i < 0 {
		if fields := fieldsOf(t); len(fields) > 0 { // else it writes itself
			return noField(within+name, "field", fields)
		}
		return nil
	}
	return checkMembers(reflect.VisibleFields(t)[i].Type, within+name+".", rest)
}

// checkGuesses has an error for a key that is neither a field nor a label of any of the records.
func checkGuesses(filters []filter, records []record) error {
	for _, f := range filters {
		if f.guessed == "" || len(records) == 0 {
			continue
		}
		found := false
		for _, r := range records {
			v, err := plain(r)
			if err != nil {
				return err
			}
			if found = len(valuesAt(v, f.key)) > 0; found {
				break
			}
		}
		if !found {
			return noField(f.guessed, "field or label", fieldsOf(reflect.TypeOf(records[0]).Elem()))
		}
	}
	return nil
}

func noField(key, what string, fields []string) error {
	return usageError{fmt.Errorf("--filter: no %s is called %q; the fields are %s", what, key, strings.Join(fields, ", "))}
}

// fieldsOf returns the names that a record's fields have in JSON.
func fieldsOf(t reflect.Type) []string {
	var out []string
	for _, f := range reflect.VisibleFields(t) {
		if name := jsonName(f); name != "" && name != "-" {
			out = append(out, name)
		}
	}
	return out
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// plain turns a record into what its JSON says.
func plain(r record) (map[string]any, error) {
	b, err := r.appendJSON(nil)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	v := make(map[string]any)
	return v, d.Decode(&v)
}

func (f *filter) holds(v map[string]any) bool {
	values := valuesAt(v, f.key)
	found := slices.ContainsFunc(values, func(have string) bool { return f.bare || wildcard(f.want, have) })
	if len(values) == 0 && f.want == "" && !f.bare {
		found = true // what isn't there is empty
	}
	return found != f.not
}

// valuesAt returns the texts that a key leads to: a member, a member of a
// member ("mounts.source"), of every element of a list. Keys may hold dots.
func valuesAt(v any, key string) []string {
	switch v := v.(type) {
	case []any:
		var out []string
		for _, e := range v {
			out = append(out, valuesAt(e, key)...)
		}
		return out
	case map[string]any:
		if e, ok := v[key]; ok && key != "" {
			return valuesAt(e, "")
		}
		var out []string
		if key == "" {
			for k, e := range v { // a map's own text: KEY=VALUE
				for _, text := range valuesAt(e, "") {
					out = append(out, k+"="+text)
				}
			}
			return out
		}
		for i := range len(key) {
			if key[i] == '.' && v[key[:i]] != nil {
				out = append(out, valuesAt(v[key[:i]], key[i+1:])...)
			}
		}
		return out
	case nil:
		return nil
	}
	if key != "" {
		return nil
	}
	switch v := v.(type) {
	case string:
		return []string{v}
	case bool:
		return []string{strconv.FormatBool(v)}
	}
	return []string{fmt.Sprint(v)}
}

// wildcard says whether text matches a pattern in which * stands for any text.
func wildcard(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	rest, ok := strings.CutPrefix(text, parts[0])
	if !ok {
		return false
	}
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(rest, p)
		if i < 0 {
			return false
		}
		rest = rest[i+len(p):]
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}
