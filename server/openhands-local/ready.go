package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// readyCmd waits for a server: for scripts and container health checks.
type readyCmd struct {
	Wait time.Duration `default:"0s" help:"How long to wait for it, such as 30s; 0 asks once."`
	URL  string        `arg:"" optional:"" default:"http://localhost:3000" help:"Base URL of the server."`
}

func (c *readyCmd) Run(e *env) error {
	if err := c.wait(e); err != nil {
		return err
	}
	_, err := fmt.Fprintln(e.stdout, "ready", c.URL)
	return err
}

// wait returns once the server answers.
func (c *readyCmd) wait(e *env) error {
	deadline := time.Now().Add(c.Wait)
	for {
		err := c.ask(e)
		if err == nil || errors.As(err, new(*failure)) {
			return err
		}
		if !time.Now().Before(deadline) {
			return fmt.Errorf("%w (waited %v)", err, c.Wait)
		}
		select {
		case <-e.Done():
			return e.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (c *readyCmd) ask(e *env) error {
	ctx, cancel := context.WithTimeout(e, 2*time.Second)
	defer cancel()
	answer, err := (&env{ctx, e.lookup, e.stdout, e.stderr}).get(c.URL, "/alive", "")
	if err != nil {
		return err
	}
	return answer.Body.Close()
}
