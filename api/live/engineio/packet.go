package engineio

import (
	"bytes"
	"encoding/base64"
	"errors"
)

// The packet types of the protocol, each the first byte of a text packet.
const (
	typeOpen    = '0'
	typeClose   = '1'
	typePing    = '2'
	typePong    = '3'
	typeMessage = '4'
	typeUpgrade = '5'
	typeNoop    = '6'
)

// separator stands between the packets of a polling payload.
const separator = '\x1e'

var (
	errMalformed = errors.New("malformed packet")
	errServers   = errors.New("a packet that only servers send")
)

// Message is what one side tells the other: text, or bytes.
type Message struct {
	Binary bool
	Data   []byte
}

// Encode returns the packet that carries m. It shares the bytes of a binary
// message.
func (m Message) Encode() Packet {
	if m.Binary {
		return Packet{binary: true, wire: m.Data}
	}
	return Packet{wire: append([]byte{typeMessage}, m.Data...)}
}

// Packet is one packet as a websocket carries it: a type byte and text, or
// the bare bytes of a binary message. It never changes, so the same one may
// be sent to any number of sessions.
type Packet struct {
	binary bool
	cut    bool // none at all: the connection is cut here
	wire   []byte
}

var (
	closePacket = Packet{wire: []byte{typeClose}}
	pingPacket  = Packet{wire: []byte{typePing}}
	noopPacket  = Packet{wire: []byte{typeNoop}}
	cutPacket   = Packet{cut: true}
)

// decodeText reads a text packet. A base64 packet, which stands for a binary
// message in a polling payload, comes back as that.
func decodeText(data []byte) (Packet, error) {
	switch {
	case len(data) == 0:
		return Packet{}, errMalformed
	case data[0] == 'b':
		wire, err := base64.StdEncoding.AppendDecode(nil, data[1:])
		if err != nil {
			return Packet{}, errMalformed
		}
		return Packet{binary: true, wire: wire}, nil
	case data[0] < typeOpen || data[0] > typeNoop:
		return Packet{}, errMalformed
	}
	return Packet{wire: data}, nil
}

// decodePayload reads the body of a POST; nothing of it counts if one packet
// is malformed.
//
//	4hello\x1ebAQIDBA==\x1e3 => message "hello", message 01 02 03 04, pong
func decodePayload(body []byte) ([]Packet, error) {
	var packets []Packet
	for data := range bytes.SplitSeq(body, []byte{separator}) {
		p, err := decodeText(data)
		if err != nil {
			return nil, err
		}
		packets = append(packets, p)
	}
	return packets, nil
}

// encodePayload writes the answer to a poll.
func encodePayload(packets []Packet) []byte {
	var body []byte
	for i, p := range packets {
		if i > 0 {
			body = append(body, separator)
		}
		if p.binary {
			body = base64.StdEncoding.AppendEncode(append(body, 'b'), p.wire)
		} else {
			body = append(body, p.wire...)
		}
	}
	return body
}
