package event_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

// TestReadRecorded reads the recorded event files: what is made of them is what
// was served, exported and sent. What no answer could carry is refused.
func TestReadRecorded(t *testing.T) {
	read := 0
	for _, line := range lines(t, "events.jsonl") {
		name, file := get(line, "name").Text(), get(line, "stored")
		text := file.AppendASCII(nil)
		if raw := get(line, "stored_text"); raw.Kind() == pyjson.String {
			text, file = []byte(raw.Text()), raw
		}
		if file.IsNull() || get(line, "environment_dependent").Bool() {
			continue
		}
		// The time of a cost is a number.
		text = bytes.ReplaceAll(text, []byte(`"timestamp": "<generated>"`), []byte(`"timestamp": 1.5`))
		read++
		id, e, err := event.Read(text)
		if unservable := !get(line, "served_error").IsNull(); unservable {
			var invalid *fastapi.Invalid
			if !errors.As(err, &invalid) {
				t.Errorf("%s: Read(%.300s) = %v, want an Invalid", name, text, err)
			}
			continue
		}
		if err != nil || id != 7 {
			t.Errorf("%s: Read(%.300s) = %d, %v, want 7", name, text, id, err)
			continue
		}
		if got, want := decode(t, event.AppendServed(nil, id, e.JSON, e.Flags)), get(line, "served"); !same(want, got) {
			t.Errorf("%s: served %.600s, want %.600s", name, got.Append(nil), want.Append(nil))
		}
		if want := get(line, "trajectory"); want.IsNull() != (e.Flags&event.IsHidden != 0) {
			t.Errorf("%s: hidden %v", name, !want.IsNull())
		} else if got := decode(t, event.AppendTrajectory(nil, id, e.JSON, e.Flags)); !want.IsNull() && !same(want, got) {
			t.Errorf("%s: exported %.600s, want %.600s", name, got.Append(nil), want.Append(nil))
		}
		holdsStill(t, name, id, e)
	}
	if read < 400 {
		t.Errorf("%d files were read, want hundreds", read)
	}
}

// holdsStill wants an event to be the same however often it is carried around.
func holdsStill(t *testing.T, name string, id int64, e event.Event) {
	t.Helper()
	text := event.AppendServed(nil, id, e.JSON, 0)
	for _, way := range []struct {
		name string
		take func([]byte) (int64, event.Event, error)
	}{{"Read", event.Read}, {"Restore", event.Restore}} {
		again, e2, err := way.take(text)
		if err != nil || again != id || !bytes.Equal(e2.JSON, e.JSON) || e2.Flags != e.Flags {
			t.Errorf("%s: %s(%.600s) = %d, %.600s %b, %v, want the same and %b", name, way.name, text, again, e2.JSON, e2.Flags, err, e.Flags)
		}
	}
}

// TestNormalisedHoldsStill carries around what was posted, kinds of later
// versions too.
func TestNormalisedHoldsStill(t *testing.T) {
	for _, line := range lines(t, "events.jsonl") {
		body := get(line, "input").Append(nil)
		if raw := get(line, "input_raw"); raw.Kind() == pyjson.String {
			body = []byte(raw.Text())
		}
		e, err := event.Normalise(body, event.Options{Timestamp: time.Now(), Source: "user"})
		if err == nil {
			holdsStill(t, get(line, "name").Text(), 3, e)
		}
	}
	for _, body := range []string{
		`{"action":"task_tracking","args":{"b":1e400000,"_sa":[1]},"message":"m","extra":{"z":1,"a":2.50}}`,
		`{"action":"task_tracking","args":{"b":1e300,"_sa":[1]},"message":"m","extra":{"z":1,"a":2.50}}`,
		`{"observation":"new","extras":{"screenshot":"s","\u2028":"\ud83d\ude00 </script>"},"content":null}`,
	} {
		e, err := event.Normalise([]byte(body), event.Options{Timestamp: time.Now(), Source: "agent"})
		if err == nil {
			holdsStill(t, body, 1<<53-1, e)
		}
	}
}

func TestReadRefused(t *testing.T) {
	const good = `{"id":1,"timestamp":"2025-01-01T00:00:00","source":"user","action":"null","args":{}}`
	for _, test := range []struct {
		old, new string // in good
		want     string
	}{
		{good, "", "Field required"},
		{good, "{", "JSON decode error"},
		{good, "[1]", "should be an event"},
		{`"id":1`, `"id":-1`, "should be an id"},
		{`"id":1`, `"id":"1"`, "should be an id"},
		{`"id":1`, `"id":1.0`, "should be an id"},
		{`"id":1`, `"id":9007199254740992`, "should be an id"},
		{`"id":1`, `"id":99999999999999999999`, "should be an id"},
		{`"id":1,`, ``, "should be an id"},
		{`"timestamp":"2025-01-01T00:00:00",`, ``, "should be a time"},
		{`"source":"user",`, ``, "should be 'agent'"},
		{`"action":"null"`, `"action":1`, "name of an action"},
		{`"action":"null"`, `"observation":1`, "name of an observation"},
		{`"action":"null",`, ``, "Field required"},
		{`"args":{}`, `"args":{"x":NaN}`, "no JSON answer can carry"},
	} {
		text := []byte(strings.Replace(good, test.old, test.new, 1))
		for _, take := range []func([]byte) (int64, event.Event, error){event.Read, event.Restore} {
			_, _, err := take(text)
			var invalid *fastapi.Invalid
			if !errors.As(err, &invalid) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("of %s: %v, want an Invalid that has %q", text, err, test.want)
			}
		}
	}
	// What only has to fit when it is read as 0.53.0 does.
	for _, text := range []string{
		strings.Replace(good, `"user"`, `"nobody"`, 1),
		strings.Replace(good, `"args":{}`, `"args":{"x":1}`, 1),
	} {
		if _, _, err := event.Read([]byte(text)); err == nil {
			t.Errorf("Read(%s) = nil, want an error", text)
		}
		if _, _, err := event.Restore([]byte(text)); err != nil {
			t.Errorf("Restore(%s) = %v", text, err)
		}
	}
	if _, e, err := event.Read([]byte(strings.Replace(good, "null", "thimk", 1))); err != nil || e.Kind != "thimk" {
		t.Errorf("Read of an unknown kind = %+v, %v, want it kept", e, err)
	}
}
