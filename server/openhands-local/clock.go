package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/openhands-local/openhands-local/server"
)

// clockCmd shows the clock of a server, or moves it.
type clockCmd struct {
	Do string `arg:"" optional:"" default:"show" enum:"show,freeze,resume,advance,set,reset" help:"show (the default), freeze, resume, advance, set, or reset to what it was at the start."`
	To string `arg:"" optional:"" help:"For advance how far, such as 1h30m; for set a time, such as 2026-01-01T00:00:00Z."`
	target
}

// Help names what is not a flag.
func (*clockCmd) Help() string { return "SESSION_API_KEY is sent to a server that wants a key." }

func (c *clockCmd) Run(e *env) error {
	if takes := c.Do == "advance" || c.Do == "set"; takes != (c.To != "") {
		return usage("clock: want how far or to what time with advance and set, and only there")
	}
	method, body := http.MethodPost, any(map[string]bool{c.Do: true})
	switch c.Do {
	case "show":
		method, body = http.MethodGet, nil
	case "reset":
		if answer, err := e.ask(http.MethodDelete, c.base(), "/_local/clock", "", nil); err != nil {
			return err
		} else if err := answer.Body.Close(); err != nil {
			return err
		}
		method, body = http.MethodGet, nil
	case "advance", "set":
		body = map[string]string{c.Do: c.To}
	}
	answer, err := e.ask(method, c.base(), "/_local/clock", "", body)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var state server.ClockState
	if err := json.NewDecoder(answer.Body).Decode(&state); err != nil {
		return fmt.Errorf("%s: clock: %w", c.base(), err)
	}
	how := "running"
	if state.Frozen {
		how = "frozen"
	}
	fmt.Fprintf(e.stdout, "%s %s, %s from the machine's time, %s\n", state.Now.Format(time.RFC3339Nano), how, state.Offset, plural(int64(state.Waiters), "waits", "wait"))
	for _, w := range state.Waiting {
		fmt.Fprintf(e.stdout, "%s %s\n", w.Due.Format(time.RFC3339Nano), w.What)
	}
	return nil
}
