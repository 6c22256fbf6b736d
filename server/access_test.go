package server

import (
	"net/http/httptest"
	"os"
	"testing"
)

// TestAccess: a server of this machine is called by its own names alone. One that
// other machines reach is called by any address too, which no foreign page can
// make its own, and by the machine's name; a page is let in by the address that
// it came from, not by any other.
func TestAccess(t *testing.T) {
	machine, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	const local, network = "localhost:3000", "0.0.0.0:3000"
	for _, tt := range []struct {
		addr, host, origin string
		allowed            bool
	}{
		{local, "localhost:3000", "", true},
		{local, "[::1]:3000", "http://localhost:5173", true},
		{local, "192.168.1.20:3000", "", false},
		{local, "localhost:3000", "http://192.168.1.20:3000", false},
		{local, "evil.example", "", false},
		{network, "localhost:3000", "http://localhost:5173", true},
		{network, "192.168.1.20:3000", "", true},
		{network, "203.0.113.9", "", true},
		{network, "[fd00::1]:3000", "", true},
		{network, machine + ":3000", "", true},
		{network, "evil.example", "", false},
		{network, "192.168.1.20.evil.example", "", false},
		{network, "192.168.1.20:3000", "http://192.168.1.20:3000", true},
		{network, "192.168.1.20:3000", "http://192.168.1.20:8080", false},
		{network, "192.168.1.20:3000", "http://203.0.113.9", false},
		{network, "192.168.1.20:3000", "http://evil.example", false},
		{network, machine + ":3000", "http://" + machine + ":3000", true},
		{"192.168.1.20:3000", "192.168.1.20:3000", "", true},
		{":3000", "192.168.1.20:3000", "", true},
		{"127.0.0.2:3000", "192.168.1.20:3000", "", false},
	} {
		r := httptest.NewRequest("GET", "/alive", nil)
		r.Host = tt.host
		if tt.origin != "" {
			r.Header.Set("Origin", tt.origin)
		}
		if err := (Access{}).on(tt.addr).Check(r); (err == nil) != tt.allowed {
			t.Errorf("at %s: Host %s, Origin %q: %v, want allowed %v", tt.addr, tt.host, tt.origin, err, tt.allowed)
		}
	}
}
