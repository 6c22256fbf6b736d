package boltstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/openhands-local/openhands-local/store"
)

// TestFaultFull limits the size of the file, below and above what it has already,
// so that writing and growing it are refused.
func TestFaultFull(t *testing.T) {
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	limit := func(t *testing.T, n uint64) {
		t.Helper()
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: before.Max}); err != nil {
			t.Fatal(err)
		}
	}
	for _, size := range []uint64{4 << 20, 20 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			s := openStore(t, newPath(t))
			add(t, s, "c", "first")
			e := store.NewEvent{JSON: make([]byte, 500_000), Key: "k"}
			t.Cleanup(func() { limit(t, before.Cur) })
			limit(t, size)
			next := int64(1)
			for err := error(nil); err == nil; {
				var id int64
				e.Key = fmt.Sprint(next)
				if id, _, err = s.Append(t.Context(), "c", e); err == nil {
					if id != next {
						t.Fatalf("Append = %d, want %d", id, next)
					}
					next++
				} else if !errors.Is(err, store.ErrFull) {
					t.Fatalf("Append = %v, want %v", err, store.ErrFull)
				}
				if next > 100 {
					t.Fatal("Append is never refused")
				}
			}
			large := func(yield func(store.Event, error) bool) { yield(store.Event{JSON: e.JSON}, nil) }
			if _, err := s.Import(t.Context(), store.Conversation{ID: "c"}, true, large); !errors.Is(err, store.ErrFull) {
				t.Errorf("Import = %v, want %v", err, store.ErrFull)
			}
			for range 3 {
				if _, _, err := s.Append(t.Context(), "c", e); !errors.Is(err, store.ErrFull) {
					t.Errorf("Append = %v, want %v", err, store.ErrFull)
				}
			}
			page, err := store.Events(t.Context(), s, "c", store.Range{From: next - 1, To: next + 1}, 10)
			if len(page) != 1 || err != nil {
				t.Errorf("Events = %d, %v, want the last that was stored", len(page), err)
			}
			limit(t, before.Cur)
			if id, repeated, err := s.Append(t.Context(), "c", e); id != next || repeated || err != nil {
				t.Errorf("Append with room again = %d, %v, %v, want %d", id, repeated, err, next)
			}
			if id, repeated, err := s.Append(t.Context(), "c", e); id != next || !repeated || err != nil {
				t.Errorf("Append again = %d, %v, %v, want %d, true", id, repeated, err, next)
			}
		})
	}
}

// TestFaultFailedCommit takes the right to write from bbolt's file, and wants no
// write any more, also when there is the right again.
func TestFaultFailedCommit(t *testing.T) {
	path := newPath(t)
	s := openStore(t, path)
	add(t, s, "c", "a")
	fd := descriptor(t, path)
	good, err := syscall.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	readOnly, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	if err := syscall.Dup3(int(readOnly.Fd()), fd, 0); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, _, err := s.Append(t.Context(), "c", store.NewEvent{})
		if !errors.Is(err, syscall.EBADF) || !errors.Is(err, store.ErrFailed) {
			t.Errorf("Append = %v, want one that cannot be written", err)
		}
		if err := syscall.Dup3(good, fd, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Close(good); err != nil {
		t.Fatal(err)
	}
	_, err = s.Create(t.Context(), store.Conversation{ID: "d"})
	_, err2 := s.Update(t.Context(), "c", func(*store.Conversation) error { return nil })
	err3 := s.UpdateRecord(t.Context(), "r", func([]byte) ([]byte, error) { return []byte{}, nil })
	for i, err := range []error{err, err2, err3, s.Delete(t.Context(), "c"), s.Reset(t.Context())} {
		if !errors.Is(err, syscall.EBADF) {
			t.Errorf("write %d = %v, want %v", i, err, syscall.EBADF)
		}
	}
	if got, err := texts(t, s, "c", store.All); got != "0=a" || err != nil {
		t.Errorf("Events = %s, %v, want 0=a", got, err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	s = openStore(t, path)
	add(t, s, "c", "b")
	if got, err := texts(t, s, "c", store.All); got != "0=a 1=b" || err != nil {
		t.Errorf("Events = %s, %v, want 0=a 1=b", got, err)
	}
}

// descriptor finds the descriptor under which this process has a file open.
func descriptor(t *testing.T, path string) int {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == path {
			fd, err := strconv.Atoi(filepath.Base(link))
			if err != nil {
				t.Fatal(err)
			}
			return fd
		}
	}
	t.Fatalf("%s is not open", path)
	return -1
}
