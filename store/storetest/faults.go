package storetest

import (
	"os"
	"strconv"
	"testing"
)

// Faults names the variable that asks for the long form of the tests called
// TestFault…: "long", as `make faults` sets it.
const Faults = "OPENHANDS_LOCAL_FAULTS"

// Rounds is how often a test of faults shall make one happen: quick times, or
// long times when the long form is asked for. `make faults` shows the number.
func Rounds(t testing.TB, quick, long int) int {
	t.Helper()
	n := quick
	if os.Getenv(Faults) == "long" {
		n = long
	}
	t.Attr("rounds", strconv.Itoa(n))
	return n
}
