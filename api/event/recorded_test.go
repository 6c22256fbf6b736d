package event_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

// lines yields the lines of a recorded file.
func lines(t testing.TB, name string) []pyjson.Value {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []pyjson.Value
	s := bufio.NewScanner(f)
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		v, err := pyjson.Decode(s.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

func get(v pyjson.Value, path ...string) pyjson.Value {
	for _, key := range path {
		v, _ = v.Get(key)
	}
	return v
}

// same compares values, key order and spelling of numbers included; a
// placeholder stands for anything.
func same(want, got pyjson.Value) bool {
	if want.Kind() == pyjson.String && (want.Text() == "<timestamp>" || want.Text() == "<generated>") {
		return true
	}
	if want.Kind() != got.Kind() || want.Text() != got.Text() || want.Bool() != got.Bool() ||
		len(want.Items()) != len(got.Items()) || len(want.Members()) != len(got.Members()) {
		return false
	}
	for i := range want.Items() {
		if !same(want.Items()[i], got.Items()[i]) {
			return false
		}
	}
	for i, m := range want.Members() {
		if m.Key != got.Members()[i].Key || !same(m.Value, got.Members()[i].Value) {
			return false
		}
	}
	return true
}

func decode(t *testing.T, text []byte) pyjson.Value {
	t.Helper()
	v, err := pyjson.Decode(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// differs names in which way our event differs from a recorded line: "" when
// it does not.
func differs(t *testing.T, line pyjson.Value) string {
	body := get(line, "input").Append(nil)
	if raw := get(line, "input_raw"); raw.Kind() == pyjson.String {
		body = []byte(raw.Text())
	}
	if raw := get(line, "input_raw_hex"); raw.Kind() == pyjson.String {
		body, _ = hex.DecodeString(raw.Text())
	}
	var secrets []event.Secret
	for _, s := range get(line, "secrets").Items() {
		secrets = append(secrets, event.Secret{Name: s.Items()[0].Text(), Value: s.Items()[1].Text()})
	}
	e, err := event.Normalise(body, event.Options{Timestamp: time.Now(), Source: "user", Strict: true, Secrets: secrets})
	if status := get(line, "status").Text(); status == "500" {
		if err == nil {
			return "accepted"
		}
		return "" // 500 becomes 4xx
	}
	if err != nil {
		return "refused: " + err.Error()
	}
	if e.HasImages && get(line, "controller").Text() == "inactive" { // of a model without vision: nothing is stored
		if get(line, "stored").IsNull() {
			return ""
		}
		return "not stored"
	}
	if served := get(line, "served"); !served.IsNull() {
		got := event.AppendServed(nil, 7, e.JSON, e.Flags)
		if !same(served, decode(t, got)) {
			return "served " + string(got)
		}
		if !bytes.Equal(got, decode(t, got).Append(nil)) {
			return "not compact " + string(got)
		}
	} else {
		return "served"
	}
	if trajectory := get(line, "trajectory"); !trajectory.IsNull() {
		if got := event.AppendTrajectory(nil, 7, e.JSON, e.Flags); !same(trajectory, decode(t, got)) {
			return "trajectory " + string(got)
		}
	} else if e.Flags&event.IsHidden == 0 {
		return "in trajectory"
	}
	text, sent := event.AppendLive(nil, 7, e.JSON, e.Flags)
	if live := get(line, "live"); live.IsNull() == sent {
		return "live"
	} else if sent && !same(live, decode(t, text)) {
		return "live " + string(text)
	}
	return ""
}

// compare runs a test on the recorded lines: it names the difference from what
// was recorded, and the differences must be those that are listed.
func compare(t *testing.T, recorded []pyjson.Value, differs func(*testing.T, pyjson.Value) string) {
	t.Helper()
	listed := differences(t)
	for _, line := range recorded {
		name := get(line, "name").Text()
		got := differs(t, line)
		switch why := listed[name]; {
		case got != "" && why == "":
			t.Errorf("%s: %.600s\nrecorded: %.600s", name, got, line.Append(nil))
		case got == "" && why != "":
			t.Errorf("%s is listed as different (%s) and is not", name, why)
		}
	}
}

func TestRecordedEvents(t *testing.T) {
	compare(t, slices.DeleteFunc(lines(t, "events.jsonl"), func(line pyjson.Value) bool {
		return get(line, "environment_dependent").Bool()
	}), differs)
}

// TestDifferencesAreRecorded keeps the list of differences to cases there are.
func TestDifferencesAreRecorded(t *testing.T) {
	listed := differences(t)
	for _, file := range []string{"events.jsonl", "search.jsonl", "live.jsonl"} {
		for _, line := range lines(t, file) {
			delete(listed, get(line, "name").Text())
		}
	}
	for name := range listed {
		t.Errorf("%s is listed and not recorded", name)
	}
}

// differences reads the list: a case's name, a colon and the reason.
func differences(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("differences.txt")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, ok := strings.Cut(line, ": ")
		if !ok || reason == "" {
			t.Errorf("differences.txt: %q: want name: reason", line)
		}
		listed[name] = reason
	}
	return listed
}
