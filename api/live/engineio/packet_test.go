package engineio

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

func TestPayload(t *testing.T) {
	tests := []struct {
		body string
		want []Packet // nil: malformed
	}{
		{"4hello", []Packet{{wire: []byte("4hello")}}},
		{"4", []Packet{{wire: []byte("4")}}},
		{"4a\x1e3\x1ebAQIDBA==", []Packet{{wire: []byte("4a")}, {wire: []byte("3")}, {binary: true, wire: []byte{1, 2, 3, 4}}}},
		{"b", []Packet{{binary: true}}},
		{"", nil},
		{"\x1e", nil},
		{"4a\x1e", nil},
		{"7", nil},
		{"zzz", nil},
		{"bA", nil},
	}
	for _, test := range tests {
		got, err := decodePayload([]byte(test.body))
		if !reflect.DeepEqual(got, test.want) || (err == nil) != (test.want != nil) || err != nil && !errors.Is(err, errMalformed) {
			t.Errorf("decodePayload(%q) = %v, %v, want %v", test.body, got, err, test.want)
		}
		if body := encodePayload(got); err == nil && string(body) != test.body {
			t.Errorf("encodePayload(%v) = %q, want %q", got, body, test.body)
		}
	}
}

func FuzzDecodePayload(f *testing.F) {
	for _, seed := range []string{"4hello", "4a\x1e3\x1ebAQIDBA==", "", "b", "bA", "zzz"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		packets, err := decodePayload(body)
		if err != nil {
			return
		}
		again, err := decodePayload(encodePayload(packets))
		if err != nil || len(again) != len(packets) {
			t.Fatalf("%q: %d packets, read again %d, %v", body, len(packets), len(again), err)
		}
		for i, p := range packets {
			if p.binary != again[i].binary || !bytes.Equal(p.wire, again[i].wire) {
				t.Errorf("packet %d of %q = %q, read again %q", i, body, p.wire, again[i].wire)
			}
		}
	})
}
