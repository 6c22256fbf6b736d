package boltstore

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/boltstore/boltfile"
	"github.com/openhands-local/openhands-local/store/storetest"
)

// An image is what a disk holds of a store's file.
type image struct {
	size  int64
	pages map[int64]string // by number; a page that is missing is zeros
}

// takeImage reads a file; nothing of it lies beyond what a meta page names.
func takeImage(t *testing.T, path string) image {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	size := int64(os.Getpagesize())
	used := uint64(4) // of a new file
	for at := range int64(2) {
		if m, ok := boltfile.ReadMeta(f, at*size); ok {
			used = max(used, m.Pages)
		}
	}
	i := image{size: info.Size(), pages: map[int64]string{}}
	for n := range int64(used) {
		page := make([]byte, size)
		if _, err := f.ReadAt(page, n*size); err != nil && n*size < i.size {
			t.Fatal(err)
		}
		if !isZero(page) {
			i.pages[n] = string(page)
		}
	}
	return i
}

func isZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

func (i image) write(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(i.size); err != nil {
		t.Fatal(err)
	}
	for n, page := range i.pages {
		// A page that is not whole is a write that was torn.
		if _, err := f.WriteAt([]byte(page), n*int64(os.Getpagesize())); err != nil {
			t.Fatal(err)
		}
	}
}

// A commit is what one write transaction did to the disk: it made the file
// longer, wrote data pages, synced, wrote a meta page, synced.
type commit struct {
	name          string
	before, after image
	told          [2]string // what a reader is told before and after it
}

func (c commit) changed() (data, meta []int64) {
	for n := range c.after.pages {
		if c.before.pages[n] == c.after.pages[n] {
			continue
		}
		if n < 2 {
			meta = append(meta, n)
		} else {
			data = append(data, n)
		}
	}
	slices.Sort(data)
	return data, meta
}

// cut is the disk when the power goes before the sync of the data: of the
// changed pages it has those that are chosen, some of them torn at a sector.
func (c commit) cut(data []int64, chosen func(n int) (bool, int)) image {
	const sector = 512
	i := image{c.after.size, maps.Clone(c.before.pages)}
	for n, page := range data {
		written, sectors := chosen(n)
		if !written {
			continue
		}
		before, after := c.before.pages[page], c.after.pages[page]
		if before == "" {
			before = strings.Repeat("\x00", len(after))
		}
		at := min(sectors*sector, len(after))
		i.pages[page] = after[:at] + before[at:]
	}
	return i
}

// TestFaultPowerCut stops the disk at every write of a few commits: before the
// first sync it has any subset of the data pages, whole or torn; then all of
// them, and the meta page or not. Each time the store opens, bbolt's check is
// clean, all is there that was acknowledged, nothing half, and a write goes on.
func TestFaultPowerCut(t *testing.T) {
	const all = 6 // subsets of up to so many pages are tried one by one
	samples := storetest.Rounds(t, 4, 400)
	seed := uint64(os.Getpid())
	random := rand.New(rand.NewPCG(seed, 1))
	path := filepath.Join(t.TempDir(), "events.db")
	whole := func(int) (bool, int) { return true, 1 << 10 }
	states := 0
	for _, c := range recordCommits(t) {
		data, meta := c.changed()
		if len(meta) == 0 {
			t.Fatalf("%s writes no meta page", c.name)
		}
		try := func(kind string, i image, told ...string) {
			states++
			if got := readAfterPowerCut(t, path, i); !slices.Contains(told, got) {
				t.Errorf("seed %d: %s, %s: the store has\n%s\nwant\n%s", seed, c.name, kind, got, strings.Join(told, "\nor\n"))
			}
		}
		try("nothing written", c.before, c.told[0])
		subsets := 1 << len(data)
		if len(data) <= all {
			for subset := range subsets {
				try(fmt.Sprintf("pages %b", subset), c.cut(data, func(n int) (bool, int) { return subset&(1<<n) != 0, 1 << 10 }), c.told[:1]...)
			}
		}
		for range samples {
			try("torn pages", c.cut(data, func(int) (bool, int) { return random.IntN(3) > 0, 1 + random.IntN(8) }), c.told[:1]...)
		}
		data = append(data, meta...)
		for _, n := range meta { // 80 bytes, the checksum at the end
			i := c.cut(data, whole)
			page := i.pages[n]
			for _, at := range []int{0, 24, 40, 60, 79} {
				before := c.before.pages[n]
				if before == "" {
					before = strings.Repeat("\x00", len(page))
				}
				i.pages[n] = page[:at] + before[at:]
				try(fmt.Sprintf("%d bytes of the meta page", at), i, c.told[:]...)
			}
		}
		try("all written", c.cut(data, whole), c.told[1])
	}
	t.Attr("result", fmt.Sprintf("%d states of the disk", states))
}

// recordCommits does one of everything that writes, and returns what each
// commit did to the disk.
func recordCommits(t *testing.T) (commits []commit) {
	t.Helper()
	ctx := t.Context()
	path := newPath(t)
	var s *Store
	last := image{}
	toldLast := ""
	record := func(name string) {
		c := commit{name: name, before: last, after: takeImage(t, path)}
		c.told = [2]string{toldLast, toldLast}
		if s != nil {
			c.told[1] = tell(ctx, s)
		}
		last, toldLast = c.after, c.told[1]
		commits = append(commits, c)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	makeFile(path) // which appears whole
	last = takeImage(t, path)
	s, err := Open(path, Options{})
	must(err)
	toldLast = tell(ctx, s) // no buckets are an empty store
	record("make the buckets")
	appendOne := func(conversation, text, key string) {
		_, _, err := s.Append(ctx, conversation, store.NewEvent{JSON: []byte(text), Key: key})
		must(err)
	}
	for _, id := range []string{"a", "b"} {
		_, err := s.Create(ctx, store.Conversation{ID: id})
		must(err)
		record("create " + id)
		for n := range 3 {
			appendOne(id, fmt.Sprintf("%s%d%s", id, n, strings.Repeat(".", 1500)), fmt.Sprint(n))
			record(fmt.Sprintf("append %s %d", id, n))
		}
	}
	appendOne("a", strings.Repeat("long", 10_000), "") // more than a page
	record("append a long event")
	var many []store.Event
	for n := range int64(40) {
		many = append(many, store.Event{ID: 100 + 2*n, JSON: benchEvent})
	}
	must(restore(ctx, s, "b", many...))
	record("restore")
	must(s.UpdateRecord(ctx, "r", func([]byte) ([]byte, error) { return []byte("value"), nil }))
	record("update a record")
	_, err = s.Update(ctx, "a", func(c *store.Conversation) error { c.Title = "title"; return nil })
	must(err)
	record("update a conversation")
	// Not Delete: its sweeper commits whenever it likes.
	must(s.write(ctx, "delete", "b", func(tx *bolt.Tx) error { delete(s.tails, "b"); return remove(tx, "b") }))
	record("delete")
	for more := true; more; {
		err := s.write(ctx, "sweep", "", func(tx *bolt.Tx) (err error) { more, err = s.sweepSome(tx); return err })
		if more {
			must(err)
			record("sweep")
		}
	}
	appendOne("a", "in the place of b", "")
	record("append into free pages")
	toldLast = tell(ctx, s)
	must(s.Close())
	s = nil
	record("close")
	return commits
}

// tell is all that a store holds.
func tell(ctx context.Context, s *Store) string {
	var b strings.Builder
	page, total, err := s.Conversations(ctx, 0, 1000)
	fmt.Fprintf(&b, "%d conversations %v\n", total, err)
	for _, c := range page {
		fmt.Fprintf(&b, "%s %q\n", c.ID, c.Title)
		for e, err := range store.Scan(ctx, s, c.ID, store.All) {
			fmt.Fprintf(&b, "%d %.9s %d %08x %v\n", e.ID, e.JSON, len(e.JSON), crc32.ChecksumIEEE(e.JSON), err)
		}
	}
	r, err := s.Record(ctx, "r")
	fmt.Fprintf(&b, "r=%s %v", r, err)
	return b.String()
}

// readAfterPowerCut opens an image, reads it, checks it, and writes to it.
func readAfterPowerCut(t *testing.T, path string, i image) string {
	t.Helper()
	i.write(t, path)
	s, err := Open(path, Options{})
	if err != nil {
		return err.Error()
	}
	defer s.Close()
	if err := s.lock(t.Context()); err != nil { // the check counts free pages: nobody may write meanwhile
		t.Fatal(err)
	}
	s.db.NoSync = true // of this disk nothing is asked
	told := tell(t.Context(), s)
	_ = s.db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			told += fmt.Sprintf("\ncheck: %v", err)
		}
		return nil
	})
	s.unlock()
	if _, err := s.Create(t.Context(), store.Conversation{ID: "after"}); err != nil {
		told += fmt.Sprintf("\ncreate: %v", err)
	}
	if err := s.Close(); err != nil {
		told += fmt.Sprintf("\nclose: %v", err)
	}
	return told
}
