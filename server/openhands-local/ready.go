package main

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// readyCmd waits for a server: for scripts and container health checks.
type readyCmd struct {
	Wait time.Duration `help:"How long to wait for it." placeholder:"30s"`
	URL  string        `arg:"" optional:"" default:"http://localhost:3000" help:"Base URL of the server."`
}

func (c *readyCmd) Run(e *env) error {
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}} // no proxy
	deadline := time.Now().Add(c.Wait)
	for {
		err := c.ask(e, &client)
		if err == nil {
			fmt.Fprintln(e.stdout, "ready", c.URL)
			return nil
		}
		if !time.Now().Before(deadline) {
			return fmt.Errorf("%s does not serve (waited %v): %w", c.URL, c.Wait, err)
		}
		select {
		case <-e.Done():
			return e.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (c *readyCmd) ask(e *env, client *http.Client) error {
	r, err := http.NewRequestWithContext(e, http.MethodGet, strings.TrimSuffix(c.URL, "/")+"/alive", nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", answer.Status)
	}
	return nil
}
