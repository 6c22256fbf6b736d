package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// listen binds an address. localhost binds both loopback addresses where they
// exist, on one port.
func listen(ctx context.Context, addr, key string) ([]net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if !strings.EqualFold(host, "localhost") {
		l, err := bind(ctx, addr, key)
		if err != nil {
			return nil, err
		}
		return []net.Listener{l}, nil
	}
	// A free port of the one loopback may be taken on the other.
	const tries = 20
	for i := 0; ; i++ {
		four, err := bind(ctx, net.JoinHostPort("127.0.0.1", port), key)
		if err != nil {
			return nil, err
		}
		_, chosen, _ := net.SplitHostPort(four.Addr().String())
		six, err := bind(ctx, net.JoinHostPort("::1", chosen), key)
		switch {
		case err == nil:
			return []net.Listener{four, six}, nil
		case !errors.Is(err, syscall.EADDRINUSE):
			return []net.Listener{four}, nil // no IPv6 here
		case port != "0" || i == tries:
			return nil, errors.Join(err, four.Close())
		}
		if err := four.Close(); err != nil {
			return nil, err
		}
	}
}

// baseURL is where this machine finds a listener, also one that takes
// connections at every address: that is no Host that anyone may say.
func baseURL(a net.Addr) string {
	addr := a.String()
	if host, port, err := net.SplitHostPort(addr); err == nil && net.ParseIP(host).IsUnspecified() {
		addr = net.JoinHostPort("127.0.0.1", port)
	}
	return "http://" + addr
}

func bind(ctx context.Context, addr, key string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is in use%s: stop that server, or choose another address with --addr (--addr localhost:0 picks a free port): %w",
			addr, holder(ctx, addr, key), syscall.EADDRINUSE)
	}
	return l, err
}

// A plainListener makes plainConns, and writes a record when a connection cannot
// be accepted, which net/http tries again a little later: without one nobody knows
// why clients wait.
type plainListener struct {
	net.Listener
	log *slog.Logger
}

func (l plainListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		l.log.Warn("a connection was not accepted: tried again", "error", err)
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		c = &plainConn{TCPConn: tcp, log: l.log}
	}
	return c, err
}

// holder tells who answers at a busy address when it is one of ours.
func holder(ctx context.Context, addr, key string) string {
	info, err := Ask(ctx, "http://"+addr, key)
	if err != nil {
		return ""
	}
	return info.holder()
}

// Info is what a server tells of itself at /_local/info and in its ready file.
type Info struct {
	URL string `json:"url"`
	// AgentServer is the address of the agent server's line; "" when it is not
	// served.
	AgentServer string `json:"agent_server,omitempty"`
	PID         int    `json:"pid"`
	Data        string `json:"data"` // absolute folder, "memory", or the URL of a database without its password
	Version     string `json:"version"`
	API         string `json:"api"`      // version of the contract
	Recorded    string `json:"recorded"` // version whose answers are given
	Strict      bool   `json:"strict"`
	// World is the name of the one that is asked, "" of the one without.
	World string `json:"world,omitempty"`
}

// holder names the server as the one that has something.
func (i Info) holder() string {
	return fmt.Sprintf(" by openhands-local %s (pid %d, %s, data %s)", i.Version, i.PID, i.URL, i.Data)
}

// Ask returns the Info of the server at a base URL, which may want a key, or an error when none of
// ours answers there within a second.
func Ask(ctx context.Context, url, key string) (Info, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var info Info
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(url, "/")+"/_local/info", nil)
	if err != nil {
		return info, err
	}
	r.Header.Set("X-Session-API-Key", key)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy
	resp, err := client.Do(r)
	if err != nil {
		return info, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return info, fmt.Errorf("%s answers %s", url, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(&info); err != nil || info.PID == 0 {
		return info, fmt.Errorf("%s is not an openhands-local", url)
	}
	return info, nil
}
