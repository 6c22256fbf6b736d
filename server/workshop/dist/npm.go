package main

import (
	"encoding/json"
	"fmt"
	"strings"
)

// npmSources has the files of the npm package. Its package.json lacks the
// version and the packages of the platforms.
const npmSources = ".packages/npm"

// npmPlatforms are the platforms as Node.js names them: its process.platform and
// process.arch.
var npmPlatforms = map[string][]string{
	"linux/amd64":   {"linux", "x64"},
	"linux/arm64":   {"linux", "arm64"},
	"darwin/amd64":  {"darwin", "x64"},
	"darwin/arm64":  {"darwin", "arm64"},
	"windows/amd64": {"win32", "x64"},
	"windows/arm64": {"win32", "arm64"},
}

// npmProgram is the package that holds the program for a platform, and is
// installed there alone.
func npmProgram(b *build) ([]packed, error) {
	p, ok := npmPlatforms[b.goos+"/"+b.goarch]
	if !ok {
		return nil, nil
	}
	name := strings.Join(p, "-")
	return npm(b, program+"-"+name, map[string]any{
		"name": "@" + program + "/" + name, "description": "The program of openhands-local for " + name,
		"os": p[:1], "cpu": p[1:], "preferUnplugged": true, // it cannot run from within an archive
	}, packed{b.file(), 0o755, b.text})
}

// npmMain is the package that people install. The packages of the platforms are
// its optional dependencies: npm leaves out those of other ones.
func npmMain(b *build) ([]packed, error) {
	files, err := sources(npmSources, "package.json", "README.md", "*.js", "*.d.ts")
	if err != nil {
		return nil, err
	}
	var manifest map[string]any
	if err := json.Unmarshal(files[0].text, &manifest); err != nil {
		return nil, fmt.Errorf("%s: %w", files[0].name, err)
	}
	optional := map[string]string{}
	for _, p := range npmPlatforms {
		optional["@"+program+"/"+strings.Join(p, "-")] = npmVersion(b.version)
	}
	manifest["optionalDependencies"] = optional
	return npm(b, program, manifest, files[1:]...)
}

// npm packs a package as npm pack does.
func npm(b *build, name string, manifest map[string]any, files ...packed) ([]packed, error) {
	manifest["version"] = npmVersion(b.version)
	text, err := json.MarshalIndent(manifest, "", "  ")
	if err != nil {
		return nil, err
	}
	all := []packed{{"package/package.json", 0o644, append(text, '\n')}}
	for _, f := range files {
		all = append(all, packed{"package/" + f.name, f.mode, f.text})
	}
	text, err = tarGz(all, b.at)
	return []packed{{name + "-" + npmVersion(b.version) + ".tgz", 0o644, text}}, err
}

// npmVersion writes a version of the go command as npm has it. npm leaves out
// what is after a +.
func npmVersion(version string) string {
	if version == "devel" {
		return "0.0.0-devel"
	}
	return strings.ReplaceAll(strings.TrimPrefix(version, "v"), "+", "-")
}
