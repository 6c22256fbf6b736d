package socketio

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// BenchmarkBroadcast sends a frame of 300 bytes to 1,000 websockets and waits
// until each client has it. The clients share the process but allocate nothing.
func BenchmarkBroadcast(b *testing.B) {
	const clients, size = 1000, 300
	sockets := make(chan *Socket, clients)
	server := New(Options{Namespaces: map[string]Namespace{"/": {Connect: func(s *Socket) error { sockets <- s; return nil }}}})
	host := httptest.NewServer(server)
	defer host.Close()
	defer server.Shutdown(b.Context())

	prefix := EncodeEvent("/", "oh_event", []byte(`""`))
	pad := size - len(wire(prefix)[0])
	frame := EncodeEvent("/", "oh_event", []byte(`"`+strings.Repeat("x", pad)+`"`))
	onWire := int64(4 + size) // a header of four bytes

	var got sync.WaitGroup
	all := make([]*Socket, clients)
	for i := range all {
		c, err := net.Dial("tcp", host.Listener.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
		c.Write([]byte{0x81, 0x82, 0, 0, 0, 0, '4', '0'})
		r := bufio.NewReader(c)
		for line := ""; line != "\r\n"; {
			if line, err = r.ReadString('\n'); err != nil {
				b.Fatal(err)
			}
		}
		for range 2 { // the handshakes
			head, err := r.Peek(2)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := r.Discard(2 + int(head[1])); err != nil {
				b.Fatal(err)
			}
		}
		all[i] = <-sockets
		go func() {
			buffer := make([]byte, onWire)
			for {
				if _, err := io.ReadFull(r, buffer); err != nil {
					return
				}
				if !bytes.HasPrefix(buffer[4:], []byte(`42["oh_event"`)) {
					b.Errorf("a client read %q", buffer)
				}
				got.Done()
			}
		}()
	}
	b.ReportAllocs()
	for b.Loop() {
		got.Add(clients)
		for _, s := range all {
			if !s.Send(frame) {
				b.Fatal("a client was cut off")
			}
		}
		got.Wait()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/clients, "ns/client")
}
