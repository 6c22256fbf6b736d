package boltstore

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/storetest"
)

// What became of a flipped bit: nobody met it; Open refused the file; a read was
// ErrCorrupt; reads were of something else, and Check tells so; or does not.
const (
	flipUnmet   = "unmet"
	flipRefused = "refused"
	flipRead    = "an error when read"
	flipChecked = "found by check alone"
	flipMissed  = "MISSED"
)

// TestFaultFlippedPage flips a bit anywhere in the file of a store, most of them
// where bbolt's pages say what they hold, after a clean stop and after a crash.
// The process lives, and what is not as it was written is refused by Open, an
// error when it is read, or told by Check.
func TestFaultFlippedPage(t *testing.T) {
	rounds := storetest.Rounds(t, 40, 1500)
	path := newPath(t)
	writeSample(t, path)
	copyFile(t, path, path+".clean")
	s := openStore(t, path)
	add(t, s, "a", "after the clean stop")
	copyFile(t, path, path+".crashed")
	seed := uint64(time.Now().UnixNano())
	became := map[string]int{}
	for at := 0; at < rounds; {
		cmd := child(t, "flip", path)
		cmd.Env = append(cmd.Env, fmt.Sprintf("BOLTSTORE_TEST_FLIPS=%d %d %d", seed, at, rounds))
		var died bytes.Buffer
		cmd.Stderr = &died
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// A round without an end is one that kills.
		watch := time.AfterFunc(5*time.Minute, func() { _ = cmd.Process.Kill() })
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			outcome, detail, _ := strings.Cut(lines.Text(), ": ")
			if outcome == flipMissed {
				t.Errorf("seed %d, round %d: %s", seed, at, detail)
			}
			became[outcome]++
			at++
		}
		watch.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("seed %d, round %d: the process ends with %v: %.2000s", seed, at, err, died.String())
			at++
		}
	}
	var list []string
	for outcome, n := range became {
		list = append(list, fmt.Sprintf("%d %s", n, outcome))
	}
	slices.Sort(list)
	t.Attr("result", strings.Join(list, ", "))
}

// flipRounds does rounds of TestFaultFlippedPage, and prints what became of each.
func flipRounds(path string) {
	var seed uint64
	var from, to int
	if _, err := fmt.Sscan(os.Getenv("BOLTSTORE_TEST_FLIPS"), &seed, &from, &to); err != nil {
		panic(err)
	}
	ctx := context.Background()
	var files [][]byte
	var told []string
	for _, kind := range []string{".clean", ".crashed"} {
		file, err := os.ReadFile(path + kind)
		if err != nil {
			panic(err)
		}
		files = append(files, file)
		s, err := Open(path+kind, Options{})
		if err != nil {
			panic(err)
		}
		told = append(told, tell(ctx, s))
		if err := s.Close(); err != nil {
			panic(err)
		}
	}
	for round := from; round < to; round++ {
		r := rand.New(rand.NewPCG(seed, uint64(round)))
		file := bytes.Clone(files[round%2])
		size := os.Getpagesize()
		at := r.IntN(len(file))
		if r.IntN(3) > 0 { // the head of a page, and its first elements
			at = at/size*size + r.IntN(64)
		}
		bit := byte(1) << r.IntN(8)
		file[at] ^= bit
		// A store with a damaged page keeps its file locked, closed or not.
		flipped := fmt.Sprintf("%s.%d", path, round)
		if err := os.WriteFile(flipped, file, 0o600); err != nil {
			panic(err)
		}
		outcome, detail := flipOutcome(ctx, flipped, told[round%2])
		_ = os.Remove(flipped)
		fmt.Printf("%s: byte %d of page %d, bit %d: %s\n", outcome, at%size, at/size, bit, detail)
	}
}

// flipOutcome reads and writes a file in which a bit is flipped.
func flipOutcome(ctx context.Context, path, want string) (outcome, detail string) {
	found := false
	_, err := Check(ctx, path, Watcher{Problem: func(error) { found = true }})
	if err != nil {
		return flipMissed, fmt.Sprintf("Check = %v", err)
	}
	s, err := Open(path, Options{})
	if err != nil {
		return flipRefused, ""
	}
	got := tell(ctx, s)
	_, _, err = s.Append(ctx, "a", store.NewEvent{JSON: []byte("a")})
	if err != nil && !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrNotFound) {
		return flipMissed, fmt.Sprintf("Append = %v", err)
	}
	if err := s.Close(); err != nil && !errors.Is(err, store.ErrCorrupt) {
		return flipMissed, fmt.Sprintf("Close = %v", err)
	}
	switch {
	case got == want:
		return flipUnmet, ""
	case strings.Contains(got, store.ErrCorrupt.Error()):
		return flipRead, ""
	case found:
		return flipChecked, ""
	}
	return flipMissed, difference(want, got)
}

// difference is the first line in which two texts differ.
func difference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("read %q, want %q", b[i], a[i])
		}
	}
	return fmt.Sprintf("read %d lines, want %d", len(b), len(a))
}
