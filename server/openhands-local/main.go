// Command openhands-local serves the OpenHands API on this machine.
package main

import (
	"context"
	"os"
)

func main() {
	ctx := untilSignal(context.Background())
	os.Exit(report(os.Stderr, run(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr)))
}
