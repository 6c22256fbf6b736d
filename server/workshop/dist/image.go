package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// imageUser is who runs the program in an image, and may write to its /data.
const imageUser = 65532

// imageConfig says how an image is run.
//
// Whoever reaches the published port may read and write, so the image serves
// nobody until its user has said who that is: --no-key with a port of this
// machine alone, or SESSION_API_KEY. Nothing is written outside of /data, so
// that the rest can be read-only. There is no name service in the image: the
// health check asks a number.
func imageConfig(b *build) v1.Config {
	labels := map[string]string{"title": program, "description": "The OpenHands API as one program", "version": b.version, "created": b.at.Format(time.RFC3339)}
	for _, s := range b.info.Settings {
		if s.Key == "vcs.revision" {
			labels["revision"] = s.Value
		}
	}
	c := v1.Config{
		User: fmt.Sprintf("%d:%[1]d", imageUser), Entrypoint: []string{"/" + program},
		Env:     []string{"OPENHANDS_LOCAL_ADDR=0.0.0.0:3000", "OPENHANDS_LOCAL_DATA=/data"},
		Volumes: map[string]struct{}{"/data": {}}, ExposedPorts: map[string]struct{}{"3000/tcp": {}}, Labels: map[string]string{},
		Healthcheck: &v1.HealthConfig{
			Test:     []string{"CMD", "/" + program, "ready", "http://127.0.0.1:3000"},
			Interval: 10 * time.Second, Timeout: 3 * time.Second, StartPeriod: 5 * time.Second,
		},
	}
	for name, value := range labels {
		c.Labels["org.opencontainers.image."+name] = value
	}
	return c
}

// image is an image from scratch: the program, the bill of its modules, and
// /data. It is a tar of an OCI layout, which has Docker's manifest.json beside, so
// that docker load and podman load take it, and whatever reads layouts.
func image(b *build) ([]packed, error) {
	if b.goos != "linux" {
		return nil, nil
	}
	modules, err := bill(b)
	if err != nil {
		return nil, err
	}
	content, err := tarred([]packed{{program, 0o755, b.text}, {billName, 0o644, modules}, {"data/", 0o700, nil}}, b.at)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.DefaultCompression))
	if err != nil {
		return nil, err
	}
	img, err := mutate.Append(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON),
		mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: b.at}, CreatedBy: "openhands-local dist"}})
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created, config.Config = b.goos, b.goarch, v1.Time{Time: b.at}, imageConfig(b)
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return nil, err
	}
	files, err := layout(img)
	if err != nil {
		return nil, err
	}
	text, err := tarred(files, b.at)
	return []packed{{strings.Join([]string{program, b.version, b.goos, b.goarch}, "_") + ".image.tar", 0o644, text}}, err
}

// layout are the files of an image of one layer, as the "OCI Image Layout
// Specification" has them, and manifest.json.
func layout(img v1.Image) ([]packed, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	compressed, err := layers[0].Compressed()
	if err != nil {
		return nil, err
	}
	layer, err := io.ReadAll(compressed)
	if err != nil {
		return nil, err
	}
	manifest, err := img.RawManifest()
	if err != nil {
		return nil, err
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return nil, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	index, err := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{
		Platform: file.Platform(),
		// The second is how containerd, below Docker, names what it loads.
		Annotations: map[string]string{"org.opencontainers.image.ref.name": "latest", "io.containerd.image.name": "docker.io/library/" + program + ":latest"},
	}}).RawManifest()
	if err != nil {
		return nil, err
	}
	blob := func(text []byte) packed {
		return packed{fmt.Sprintf("blobs/sha256/%x", sha256.Sum256(text)), 0o644, text}
	}
	blobs := []packed{blob(config), blob(layer), blob(manifest)}
	docker, err := json.Marshal(tarball.Manifest{{Config: blobs[0].name, RepoTags: []string{program + ":latest"}, Layers: []string{blobs[1].name}}})
	return append(blobs, packed{"index.json", 0o644, index}, packed{"manifest.json", 0o644, docker},
		packed{"oci-layout", 0o644, []byte(`{"imageLayoutVersion":"1.0.0"}`)}), err
}
