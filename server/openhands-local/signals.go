package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// double is how close two signals count as one: a terminal and its shell may
// both send one.
const double = 100 * time.Millisecond

// untilSignal ends its context at the first signal, so that the server
// drains, and the program at the second.
func untilSignal(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		first := time.Now()
		cancel()
		for range signals {
			if time.Since(first) > double {
				os.Exit(130)
			}
		}
	}()
	return ctx
}
