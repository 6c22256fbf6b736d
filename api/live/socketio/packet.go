package socketio

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/openhands-local/openhands-local/api/live/engineio"
)

// The packet types of the protocol, each the first byte of a packet.
const (
	typeConnect      = '0'
	typeDisconnect   = '1'
	typeEvent        = '2'
	typeAck          = '3'
	typeConnectError = '4'
	typeBinaryEvent  = '5'
	typeBinaryAck    = '6'
)

// maxAttachments is how many a packet may announce; the limit of
// socket.io-parser.
const maxAttachments = 10

var errMalformed = errors.New("malformed packet")

// packet is a packet of the client. Its text is, with what may be left out in
// brackets:
//
//	type [attachments "-"] [namespace ","] [id] [JSON]
//
//	2["say","hi"]            51-/chat,7["say",{"_placeholder":true,"num":0}]
//
// An attachment follows as a binary message; the placeholder with its number
// stands in the JSON.
type packet struct {
	kind        byte
	namespace   string
	id          string            // the digits; "" if no answer is wanted
	data        json.RawMessage   // CONNECT: an object or nothing
	args        []json.RawMessage // EVENT and ACK: the array
	name        string            // EVENT: the first of the array, which args is without
	attachments [][]byte
	missing     int // attachments to come
}

// decode reads a packet's text. Its error is errMalformed.
func decode(text []byte) (*packet, error) {
	if len(text) == 0 {
		return nil, errMalformed
	}
	p := &packet{kind: text[0], namespace: "/"}
	rest := text[1:]
	if p.kind == typeBinaryEvent || p.kind == typeBinaryAck {
		count, after, found := bytes.Cut(rest, []byte("-"))
		n, err := strconv.ParseUint(string(count), 10, 0)
		if err != nil || !found || n > maxAttachments {
			return nil, errMalformed
		}
		p.missing, rest = int(n), after
	}
	if len(rest) > 0 && rest[0] == '/' {
		var name []byte
		name, rest, _ = bytes.Cut(rest, []byte(","))
		name, _, _ = bytes.Cut(name, []byte("?")) // old clients add the query
		p.namespace = string(name)
	}
	p.data = bytes.TrimLeft(rest, "0123456789")
	p.id = string(rest[:len(rest)-len(p.data)])
	if !p.decodeData() {
		return nil, errMalformed
	}
	return p, nil
}

// decodeData tells whether the data fits the packet's type.
func (p *packet) decodeData() bool {
	switch p.kind {
	case typeConnect:
		return len(p.data) == 0 || p.data[0] == '{' && json.Valid(p.data)
	case typeDisconnect:
		return len(p.data) == 0
	case typeEvent, typeBinaryEvent:
		if json.Unmarshal(p.data, &p.args) != nil || len(p.args) == 0 || p.args[0][0] != '"' {
			return false
		}
		_ = json.Unmarshal(p.args[0], &p.name) // a string, and valid already
		p.args = p.args[1:]
		return true
	case typeAck, typeBinaryAck:
		return json.Unmarshal(p.data, &p.args) == nil && p.args != nil
	default: // CONNECT_ERROR is the server's
		return false
	}
}

// Frame is an encoded packet with its attachments. It never changes, so the
// same one may be sent to any number of sockets of its namespace.
type Frame struct{ packets []engineio.Packet }

// EncodeEvent returns the frame of an event. The arguments have to be JSON.
func EncodeEvent(namespace, name string, args ...json.RawMessage) Frame {
	return EncodeBinaryEvent(namespace, name, nil, args...)
}

// EncodeBinaryEvent returns the frame of an event with attachments, whose
// places in the arguments are held by {"_placeholder":true,"num":0} and so on.
func EncodeBinaryEvent(namespace, name string, attachments [][]byte, args ...json.RawMessage) Frame {
	quoted, _ := json.Marshal(name) // a string always marshals
	return encodeArgs(typeEvent, namespace, "", attachments, append([]json.RawMessage{quoted}, args...))
}

// encodeArgs takes the type without attachments.
func encodeArgs(kind byte, namespace, id string, attachments [][]byte, args []json.RawMessage) Frame {
	data := []byte{'['}
	for i, arg := range args {
		if i > 0 {
			data = append(data, ',')
		}
		data = append(data, arg...)
	}
	return encode(kind, namespace, id, attachments, append(data, ']'))
}

func encode(kind byte, namespace, id string, attachments [][]byte, data []byte) Frame {
	var text []byte
	if len(attachments) > 0 {
		text = append(text, kind+typeBinaryEvent-typeEvent)
		text = append(strconv.AppendInt(text, int64(len(attachments)), 10), '-')
	} else {
		text = append(text, kind)
	}
	if namespace != "/" {
		text = append(append(text, namespace...), ',')
	}
	text = append(append(text, id...), data...)
	packets := []engineio.Packet{engineio.Message{Data: text}.Encode()}
	for _, a := range attachments {
		packets = append(packets, engineio.Message{Binary: true, Data: a}.Encode())
	}
	return Frame{packets}
}
