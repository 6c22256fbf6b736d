// Command openhands-local serves the OpenHands API on this machine.
package main

import (
	"context"
	"fmt"
	"os"
)

func main() {
	ctx := untilSignal(context.Background())
	if err := run(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "openhands-local:", err)
		os.Exit(1)
	}
}
