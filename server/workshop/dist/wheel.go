package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// pythonSources has the modules, and METADATA and entry_points.txt of the
// wheel's dist-info. METADATA lacks the version alone.
const pythonSources = ".packages/python"

// wheelTags are the platforms of wheels, as pip names them. The program needs
// no C library, so that one wheel is for glibc and musl; of a system they say
// the oldest version that Go's programs run on.
var wheelTags = map[string]string{
	"linux/amd64":   "manylinux_2_17_x86_64.manylinux2014_x86_64.musllinux_1_1_x86_64",
	"linux/arm64":   "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64",
	"darwin/amd64":  "macosx_12_0_x86_64",
	"darwin/arm64":  "macosx_12_0_arm64",
	"windows/amd64": "win_amd64",
	"windows/arm64": "win_arm64",
}

// wheel is the Python package with the program in it: a zip as the "Binary
// distribution format" of the Python Packaging User Guide has it.
func wheel(b *build) ([]packed, error) {
	tags, ok := wheelTags[b.goos+"/"+b.goarch]
	if !ok {
		return nil, nil
	}
	version, err := pythonVersion(b.version)
	if err != nil {
		return nil, err
	}
	files, err := sources(pythonSources, "openhands_local/*.py", "openhands_local/py.typed")
	if err != nil {
		return nil, err
	}
	files = append(files, packed{"openhands_local/" + b.file(), 0o755, b.text})

	info, err := sources(pythonSources, "METADATA", "entry_points.txt")
	if err != nil {
		return nil, err
	}
	name := "\nName: " + program + "\n"
	info[0].text = bytes.Replace(info[0].text, []byte(name), []byte(name+"Version: "+version+"\n"), 1)
	about := "Wheel-Version: 1.0\nGenerator: openhands-local dist\nRoot-Is-Purelib: false\n"
	for tag := range strings.SplitSeq(tags, ".") {
		about += "Tag: py3-none-" + tag + "\n"
	}
	modules, err := bill(b)
	if err != nil {
		return nil, err
	}
	info = append(info, packed{"WHEEL", 0o644, []byte(about)}, packed{"sboms/" + billName, 0o644, modules}) // PEP 770
	folder := "openhands_local-" + version + ".dist-info/"
	for _, f := range info {
		files = append(files, packed{folder + f.name, f.mode, f.text})
	}

	var record strings.Builder
	for _, f := range files {
		sum := sha256.Sum256(f.text)
		fmt.Fprintf(&record, "%s,sha256=%s,%d\n", f.name, base64.RawURLEncoding.EncodeToString(sum[:]), len(f.text))
	}
	record.WriteString(folder + "RECORD,,\n")
	files = append(files, packed{folder + "RECORD", 0o644, []byte(record.String())})
	text, err := zipped(files, b.at)
	return []packed{{"openhands_local-" + version + "-py3-none-" + tags + ".whl", 0o644, text}}, err
}

var (
	goVersion  = regexp.MustCompile(`^v(\d+\.\d+\.\d+)(?:-([^+]+))?(?:\+(.+))?$`)
	ofCommit   = regexp.MustCompile(`^(?:.*\.)?(\d{14})-([0-9a-f]{12})$`)
	preRelease = regexp.MustCompile(`^(a|b|rc|alpha|beta)\.?(\d+)$`)
)

// pythonVersion writes a version of the go command as PEP 440 has it:
//
//	v1.2.3                                     1.2.3
//	v1.2.3-rc.1                                1.2.3rc1
//	v0.0.0-20250607080910-0123456789ab+dirty   0.0.0.dev20250607080910+0123456789ab.dirty
//	devel                                      0.0.0.dev0
func pythonVersion(version string) (string, error) {
	if version == "devel" {
		return "0.0.0.dev0", nil
	}
	m := goVersion.FindStringSubmatch(version)
	if m == nil {
		return "", fmt.Errorf("version %q: want v1.2.3", version)
	}
	number, pre, local := m[1], m[2], m[3]
	if c := ofCommit.FindStringSubmatch(pre); c != nil {
		number += ".dev" + c[1]
		local = strings.TrimSuffix(c[2]+"."+local, ".")
	} else if p := preRelease.FindStringSubmatch(pre); p != nil {
		number += strings.NewReplacer("alpha", "a", "beta", "b").Replace(p[1]) + p[2]
	} else if pre != "" {
		return "", fmt.Errorf("version %q: %q is neither of a commit nor alpha, beta or rc with a number", version, pre)
	}
	if local != "" {
		number += "+" + local
	}
	return number, nil
}

// sources reads files of a folder, by patterns of which each has one at least.
// Their names are below the folder.
func sources(folder string, patterns ...string) (files []packed, err error) {
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join(folder, filepath.FromSlash(pattern)))
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("there is no %s", path.Join(folder, pattern))
		}
		for _, name := range found {
			text, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			files = append(files, packed{strings.TrimPrefix(filepath.ToSlash(name), folder+"/"), 0o644, text})
		}
	}
	return files, nil
}
