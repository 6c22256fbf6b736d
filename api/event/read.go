package event

import (
	"slices"
	"strconv"
	"time"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// Read makes an event of one that OpenHands has stored or exported, as 0.53.0
// does whenever it reads it: fields that are missing get their defaults, and
// the message is written anew. Its id, timestamp and source stay. A kind that
// 0.53.0 does not know is kept as it is. What is no such event is a
// *fastapi.Invalid.
func Read(text []byte) (id int64, e Event, err error) {
	id, v, err := stored(text)
	if err != nil {
		return 0, Event{}, err
	}
	timestamp, _ := v.Get("timestamp")
	source, _ := v.Get("source")
	at, _ := time.ParseInLocation(timeLayout[:len("2006-01-02T15:04:05")], timestamp.Text(), time.Local) // of what it lacks
	d := &decoding{Options: Options{Timestamp: at, Source: source.Text()}, timestamp: timestamp.Text(), stored: true}
	e = d.event(withoutID(v))
	if err := d.err(); err != nil {
		return 0, Event{}, err
	}
	return id, e, nil
}

// Restore takes back an event that this program has stored, with its id in
// front: JSON and Flags are the same again. What cannot be one is a
// *fastapi.Invalid.
func Restore(text []byte) (id int64, e Event, err error) {
	id, v, err := stored(text)
	if err != nil {
		return 0, Event{}, err
	}
	json := withoutID(v).Append(make([]byte, 0, len(text)))
	return id, Event{JSON: json, Flags: flagsIn(json, v)}, nil
}

func withoutID(v pyjson.Value) pyjson.Value {
	return pyjson.ObjectOf(slices.DeleteFunc(slices.Clone(v.Members()), func(m pyjson.Member) bool { return m.Key == "id" })...)
}

// stored decodes an event that has its id, timestamp, source and kind.
func stored(text []byte) (id int64, v pyjson.Value, err error) {
	v, err = pyjson.Decode(text)
	if err != nil {
		return 0, v, syntax(text, err)
	}
	d := &decoding{}
	if v.Kind() != pyjson.Object {
		d.fail("model_attributes_type", v, "Input should be an event")
		return 0, v, d.err()
	}
	if f := v.Unservable(); f != nil {
		d.fail("value_error", pyjson.Value{}, "Input has "+f.What+", which no JSON answer can carry", f.Path...)
	}
	given, _ := v.Get("id")
	const max = 1<<53 - 1 // that every reader of JSON holds exactly
	if id, err = strconv.ParseInt(given.Text(), 10, 64); given.Kind() != pyjson.Int || err != nil || id < 0 || id > max {
		d.fail("int_type", given, "Input should be an id: an integer from 0", "id")
	}
	if timestamp, _ := v.Get("timestamp"); timestamp.Kind() != pyjson.String {
		d.fail("string_type", timestamp, "Input should be a time", "timestamp")
	}
	if source, _ := v.Get("source"); source.Kind() != pyjson.String {
		d.fail("string_type", source, "Input should be 'agent', 'user' or 'environment'", "source")
	}
	action, isAction := v.Get("action")
	observation, isObservation := v.Get("observation")
	switch {
	case isAction && action.Kind() != pyjson.String:
		d.fail("string_type", action, "Input should be the name of an action", "action")
	case !isAction && isObservation && observation.Kind() != pyjson.String:
		d.fail("string_type", observation, "Input should be the name of an observation", "observation")
	case !isAction && !isObservation:
		d.noKind(v)
	}
	return id, v, d.err()
}
