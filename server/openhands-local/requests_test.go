package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
)

// TestRequestsFollow: each request is a line once it is answered, also of a server
// that was started again, until the command is ended.
func TestRequestsFollow(t *testing.T) {
	t.Parallel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	s := servertest.NewServer(t, server.Config{Addr: addr})
	ask := func(path string) {
		t.Helper()
		resp, err := http.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, in := io.Pipe()
	told, tell := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"requests", "--follow", "--path", "/nowhere/*", "--url", s.URL},
			func(string) (string, bool) { return "", false }, in, tell)
		in.CloseWithError(io.EOF)
		tell.CloseWithError(io.EOF)
		done <- err
	}()
	lines, notes := bufio.NewScanner(out), bufio.NewScanner(told)
	printed := make(chan string, 1)
	next := func() {
		if lines.Scan() {
			printed <- lines.Text()
		}
	}
	go next()
	first := ""
	for i := 0; first == ""; i++ { // until it follows
		ask(fmt.Sprint("/nowhere/", i))
		select {
		case first = <-printed:
		default:
		}
	}
	if !strings.Contains(first, " GET /nowhere/") || !strings.Contains(first, " 404 ") {
		t.Errorf("line %q", first)
	}
	go func() {
		for lines.Scan() { // what else was asked meanwhile
			if strings.Contains(lines.Text(), "/nowhere/again") {
				printed <- lines.Text()
			}
		}
	}()
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	ask("/nowhere/again")
	for notes.Scan() && !strings.Contains(notes.Text(), "connected again") {
	}
	if got := <-printed; !strings.HasPrefix(got, "#1 ") {
		t.Errorf("line %q, want the first of the new server", got)
	}
	go func() { _, _ = io.Copy(io.Discard, told) }()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("the command ends with %v", err)
	}
}

// TestRequestsFollowAgain: a connection that breaks is not the end, and nothing is
// printed twice.
func TestRequestsFollowAgain(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{})
	to, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }, ErrorLog: log.New(io.Discard, "", 0)})
	defer proxy.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, in := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"requests", "--follow", "--path", "/nowhere/*", "--url", proxy.URL}, func(string) (string, bool) { return "", false }, in, io.Discard)
		in.CloseWithError(io.EOF)
		done <- err
	}()
	lines := bufio.NewScanner(out)
	printed := make(chan string)
	go func() {
		defer close(printed)
		for lines.Scan() {
			printed <- lines.Text()
		}
	}()
	ask := func(path string) {
		t.Helper()
		resp, err := http.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	var all []string
	follow := func(prefix string) { // asks until a request of its own is printed
		t.Helper()
		for i := 0; ; i++ {
			ask(fmt.Sprint("/nowhere/", prefix, i))
			select {
			case line := <-printed:
				if all = append(all, line); strings.Contains(line, "/nowhere/"+prefix) {
					return
				}
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	follow("first")
	proxy.CloseClientConnections()
	follow("then")
	cancel()
	for line := range printed {
		all = append(all, line)
	}
	if err := <-done; err != nil {
		t.Errorf("the command ends with %v", err)
	}
	seen := map[string]bool{}
	for _, line := range all {
		if number, _, _ := strings.Cut(line, " "); seen[number] {
			t.Errorf("%s is printed twice", line)
		} else {
			seen[number] = true
		}
	}
}
