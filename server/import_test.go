package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
)

// recordedEvents are those of the event model, with its list of differences.
const recordedEvents = "../api/event/"

// A variant is a recorded conversation as the real server left it.
type variant struct {
	Events []json.RawMessage
	Files  map[string]string // that are torn, or of a kind that is not known
}

// writeSessions writes the recorded conversations as the real server kept them.
func writeSessions(t *testing.T, dir string) {
	t.Helper()
	var main []json.RawMessage
	variants := map[string]variant{}
	read(t, "search-conversation.json", &main)
	read(t, "search-variants.json", &variants)
	variants["main"] = variant{Events: main}
	for _, id := range append(slices.Collect(maps.Keys(variants)), "empty") {
		events := filepath.Join(dir, "sessions", id, "events")
		if err := os.MkdirAll(events, 0o700); err != nil {
			t.Fatal(err)
		}
		files := map[string]string{"../metadata.json": `{"conversation_id":"` + id + `","title":null,"created_at":"2025-03-01T10:00:00Z"}`}
		maps.Copy(files, variants[id].Files)
		for _, text := range variants[id].Events {
			var e struct{ ID int64 }
			if err := json.Unmarshal(text, &e); err != nil {
				t.Fatal(err)
			}
			files[fmt.Sprintf("%d.json", e.ID)] = string(text)
		}
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(events, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func read(t *testing.T, name string, v any) {
	t.Helper()
	text, err := os.ReadFile(recordedEvents + "testdata/" + name)
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// TestImportedReadsAsRecorded starts with the conversations of a real server's
// folder, among them ones with gaps, deleted and torn files, and wants every
// recorded read of HTTP to answer as it did there. What differs is listed with
// the event model: the real server reads its cache by position, and fails for a
// torn file.
func TestImportedReadsAsRecorded(t *testing.T) {
	dir := t.TempDir()
	writeSessions(t, dir)
	s := servertest.NewServer(t, server.Config{Import: dir, Strict: true, Settings: "none"})
	listed, err := os.ReadFile(recordedEvents + "differences.txt")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(recordedEvents + "testdata/search.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	compared := map[string]int{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var line struct {
			Name, Kind, Via, Conversation string
			Query                         string `json:"query_string"`
			Body                          *string
			ContentType                   *string `json:"content_type"`
			Status                        int
			IDs                           []int64
			HasMore                       *bool `json:"has_more"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil && line.Kind != "replay" {
			// Reads of other kinds have members of other types.
			line.Kind = ""
		}
		path := "/events?" + line.Query
		switch {
		case line.Kind == "trajectory":
			path = "/trajectory"
		case line.Kind != "search" || line.Via != "http":
			continue
		}
		if strings.Contains(string(listed), "\n"+line.Name+": ") {
			continue
		}
		compared[line.Kind]++
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/api/conversations/"+line.Conversation+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if line.Body != nil {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(*line.Body)), int64(len(*line.Body))
		}
		if line.ContentType != nil {
			r.Header.Set("Content-Type", *line.ContentType)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Events, Trajectory []struct{ ID int64 }
			HasMore            *bool `json:"has_more"`
		}
		err = json.NewDecoder(answer.Body).Decode(&got)
		answer.Body.Close()
		if answer.StatusCode != line.Status {
			t.Errorf("%s: status %d, want %d", line.Name, answer.StatusCode, line.Status)
		}
		if line.Status != http.StatusOK {
			continue
		}
		ids := []int64{}
		for _, e := range append(got.Events, got.Trajectory...) {
			ids = append(ids, e.ID)
		}
		if err != nil || !slices.Equal(ids, line.IDs) {
			t.Errorf("%s: events %v, %v, want %v", line.Name, ids, err, line.IDs)
		}
		if line.HasMore != nil && (got.HasMore == nil || *got.HasMore != *line.HasMore) {
			t.Errorf("%s: has_more %v, want %v", line.Name, got.HasMore, *line.HasMore)
		}
	}
	if compared["search"] < 70 || compared["trajectory"] < 2 {
		t.Errorf("compared %v, want all that was recorded", compared)
	}
}
