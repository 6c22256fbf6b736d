package main

import (
	"bytes"
	"strings"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
)

// billName is the bill's name where it lies with the program.
const billName = program + ".cdx.json"

// sbom is the bill of materials beside the archives.
func sbom(b *build) ([]packed, error) {
	text, err := bill(b)
	return []packed{{strings.Join([]string{program, b.version, b.goos, b.goarch}, "_") + ".cdx.json", 0o644, text}}, err
}

// bill names the modules that the go command linked into the program, in
// CycloneDX's JSON.
func bill(b *build) ([]byte, error) {
	module := func(kind cyclonedx.ComponentType, path, version string) cyclonedx.Component {
		url := "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B")
		return cyclonedx.Component{BOMRef: url, Type: kind, Name: path, Version: version, PackageURL: url}
	}
	main := module(cyclonedx.ComponentTypeApplication, b.info.Main.Path, b.version)
	modules := []cyclonedx.Component{module(cyclonedx.ComponentTypeLibrary, "std", strings.TrimPrefix(b.info.GoVersion, "go"))}
	for _, d := range b.info.Deps {
		if d.Replace != nil {
			d = d.Replace
		}
		modules = append(modules, module(cyclonedx.ComponentTypeLibrary, d.Path, d.Version))
	}
	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{Timestamp: b.at.Format(time.RFC3339), Component: &main}
	bom.Components = &modules
	var text bytes.Buffer
	err := cyclonedx.NewBOMEncoder(&text, cyclonedx.BOMFileFormatJSON).SetPretty(true).Encode(bom)
	return text.Bytes(), err
}
