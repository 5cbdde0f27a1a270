package main

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// inOrder returns the binaries of all programs.
func inOrder(programs []map[platform]string) []string {
	var out []string
	for _, binaries := range programs {
		for _, p := range platforms {
			out = append(out, binaries[p])
		}
	}
	return out
}

// sbom writes what the binaries are made of, in SPDX 2.3: the modules that Go
// itself recorded in each of them, and Go.
func (r *releaseOf) sbom(programs ...map[platform]string) error {
	type pkg map[string]any
	type relation map[string]string
	var packages []pkg
	var relations []relation
	known := map[string]bool{}
	for _, path := range inOrder(programs) {
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			return err
		}
		sum, _, err := sumFile(path)
		if err != nil {
			return err
		}
		id := "SPDXRef-" + strings.ReplaceAll(filepath.Base(path), "_", "-") // letters, digits, dots and dashes
		packages = append(packages, pkg{
			"SPDXID": id, "name": filepath.Base(path), "versionInfo": r.version, "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
			"licenseDeclared": "Apache-2.0", "checksums": []map[string]string{{"algorithm": "SHA256", "checksumValue": sum}},
		})
		relations = append(relations, relation{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": id})
		add := func(name, version, purl string) {
			ref := fmt.Sprintf("SPDXRef-module-%.16s", sumBytes([]byte(name+"@"+version)))
			if !known[ref] {
				known[ref] = true
				packages = append(packages, pkg{
					"SPDXID": ref, "name": name, "versionInfo": version, "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
					"externalRefs": []map[string]string{{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}},
				})
			}
			relations = append(relations, relation{"spdxElementId": id, "relationshipType": "STATIC_LINK", "relatedSpdxElement": ref})
		}
		add("go", info.GoVersion, "pkg:golang/stdlib@"+info.GoVersion)
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			add(m.Path, m.Version, "pkg:golang/"+m.Path+"@"+m.Version)
		}
	}
	b, err := json.MarshalIndent(map[string]any{
		"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": "lagan-" + r.version,
		"documentNamespace": "https://spdx.org/spdxdocs/lagan-" + r.version + "-" + r.commit,
		"creationInfo":      map[string]any{"created": r.at.Format(time.RFC3339), "creators": []string{"Tool: lagan-dist"}},
		"packages":          packages, "relationships": relations,
	}, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, fmt.Sprintf("lagan_%s.spdx.json", r.version)), append(b, '\n'), 0o644)
}
