package socketio

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func raws(values ...string) []json.RawMessage {
	var list []json.RawMessage
	for _, v := range values {
		list = append(list, json.RawMessage(v))
	}
	return list
}

func TestDecode(t *testing.T) {
	tests := []struct {
		text string
		want *packet // nil: malformed
	}{
		{"0", &packet{kind: '0', namespace: "/"}},
		{`0{"token":"x"}`, &packet{kind: '0', namespace: "/", data: json.RawMessage(`{"token":"x"}`)}},
		{"0/chat", &packet{kind: '0', namespace: "/chat"}},
		{"0/chat?a=b,", &packet{kind: '0', namespace: "/chat"}},
		{`0/chat,{"a":1}`, &packet{kind: '0', namespace: "/chat", data: json.RawMessage(`{"a":1}`)}},
		{"1", &packet{kind: '1', namespace: "/"}},
		{"1/chat,", &packet{kind: '1', namespace: "/chat"}},
		{`2["say"]`, &packet{kind: '2', namespace: "/", name: "say", data: json.RawMessage(`["say"]`), args: raws()}},
		{`2/chat,12["say",1,null]`, &packet{kind: '2', namespace: "/chat", id: "12", name: "say", data: json.RawMessage(`["say",1,null]`), args: raws("1", "null")}},
		{`51-["say",{"_placeholder":true,"num":0}]`, &packet{kind: '5', namespace: "/", missing: 1, name: "say",
			data: json.RawMessage(`["say",{"_placeholder":true,"num":0}]`), args: raws(`{"_placeholder":true,"num":0}`)}},
		{"37[]", &packet{kind: '3', namespace: "/", id: "7", data: json.RawMessage("[]"), args: []json.RawMessage{}}},
		{"", nil},
		{"abc", nil},
		{"7", nil},
		{"0x", nil},
		{"0[]", nil},
		{"0{", nil},
		{"1{}", nil},
		{"2", nil},
		{"2{}", nil},
		{"2[]", nil},
		{"2[1]", nil},
		{`2["say"`, nil},
		{`2abc["say"]`, nil},
		{"3", nil},
		{"3null", nil},
		{"3{}", nil},
		{`4"no"`, nil},
		{`5["say"]`, nil},
		{`5x-["say"]`, nil},
		{`511-["say"]`, nil},
		{`5-1-["say"]`, nil},
		{`2["say",` + strings.Repeat("[", 100_000), nil},
	}
	for _, test := range tests {
		got, err := decode([]byte(test.text))
		if got != nil && len(got.args) == 0 && test.want != nil {
			got.args, test.want.args = nil, nil
		}
		if got != nil && len(got.data) == 0 {
			got.data = nil
		}
		if !reflect.DeepEqual(got, test.want) || (err == nil) != (test.want != nil) || err != nil && !errors.Is(err, errMalformed) {
			t.Errorf("decode(%.40q) = %+v, %v, want %+v", test.text, got, err, test.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"0", `0/chat,{"a":1}`, "1/chat,", `2/chat,12["say",1]`, `51-["say",{"_placeholder":true,"num":0}]`, "37[]", "4", "2{}", "511-[]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := decode(text)
		if err != nil || p.kind != typeEvent {
			return
		}
		name, _ := json.Marshal(p.name)
		frame := encodeArgs(p.kind, p.namespace, p.id, nil, append([]json.RawMessage{name}, p.args...))
		again, err := decode(wire(frame)[0][1:])
		if err != nil || again.name != p.name || again.namespace != p.namespace || again.id != p.id || len(again.args) != len(p.args) {
			t.Errorf("%q = %+v, encoded and read again %+v, %v", text, p, again, err)
		}
	})
}

func TestEncode(t *testing.T) {
	attachments := [][]byte{{1}, {2}}
	tests := []struct {
		frame Frame
		want  string
	}{
		{EncodeEvent("/", "say"), `42["say"]`},
		{EncodeEvent("/", `a"b`, raws("1", `{"a": 2}`)...), `42["a\"b",1,{"a": 2}]`},
		{EncodeEvent("/chat", "say", raws("1")...), `42/chat,["say",1]`},
		{EncodeBinaryEvent("/chat", "say", attachments, raws("1")...), "452-/chat,[\"say\",1]\x01\x02"},
		{encodeArgs(typeAck, "/", "7", nil, nil), "437[]"},
		{encodeArgs(typeAck, "/", "7", attachments, nil), "462-7[]\x01\x02"},
	}
	for _, test := range tests {
		var got []byte
		for _, p := range wire(test.frame) {
			got = append(got, p...)
		}
		if string(got) != test.want {
			t.Errorf("frame = %q, want %q", got, test.want)
		}
	}
}

// wire returns the packets of a frame as a websocket carries them. Only
// engineio sees into its packets, so this goes through reflection.
func wire(f Frame) [][]byte {
	var list [][]byte
	packets := reflect.ValueOf(f.packets)
	for i := range packets.Len() {
		list = append(list, packets.Index(i).FieldByName("wire").Bytes())
	}
	return list
}
