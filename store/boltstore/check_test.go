package boltstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/boltstore/boltfile"
	"github.com/openhands-local/openhands-local/store/storetest"
)

// sampleEvents is how many events the conversations a and c of a sample have; b
// has one more, and so has a, with a key.
const sampleEvents = 500

// writeSample makes a closed store that has something of everything, and pages
// of every kind, also free ones and an event that takes several.
func writeSample(t *testing.T, path string) {
	t.Helper()
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a", "gone", "b", "c"} {
		add(t, s, id)
		fill(t, s, id, sampleEvents)
	}
	add(t, s, "b", `{"large":"`+strings.Repeat("x", 50_000)+`"}`)
	for i := range 300 {
		add(t, s, fmt.Sprintf("empty-%d", i))
	}
	e := store.NewEvent{JSON: []byte(`{"keyed":1}`), Key: "k", Digest: sha256.Sum256([]byte("digest"))}
	_, _, err = s.Append(t.Context(), "a", e)
	err = errors.Join(err,
		s.UpdateRecord(t.Context(), "settings", func([]byte) ([]byte, error) { return []byte(`{"s":1}`), nil }),
		s.Delete(t.Context(), "gone"))
	if err != nil {
		t.Fatal(err)
	}
	waitForCounts(t, s, count{events: 3*sampleEvents + 2, keys: 1})
	if err := errors.Join(s.Close(), cutTail(path)); err != nil {
		t.Fatal(err)
	}
}

// check returns what Check tells, one problem a line, and wants the file to be
// as it was.
func check(t *testing.T, path string) (Report, string) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var problems strings.Builder
	r, err := Check(t.Context(), path, Watcher{Problem: func(err error) { fmt.Fprintln(&problems, err) }})
	if err != nil {
		t.Errorf("Check = %v", err)
	}
	if after, err := os.ReadFile(path); !bytes.Equal(after, before) || err != nil {
		t.Errorf("the file changed, %v, want it as it was", err)
	}
	return r, problems.String()
}

// contents returns the texts of all events, by conversation and id.
func contents(t *testing.T, path string) map[string]string {
	t.Helper()
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	all := make(map[string]string)
	conversations, _, err := s.Conversations(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range conversations {
		all[c.ID] = c.Title
		for e, err := range store.Scan(t.Context(), s, c.ID, store.All) {
			if err != nil {
				t.Fatal(err)
			}
			all[fmt.Sprintf("%s/%d", c.ID, e.ID)] = fmt.Sprint(e.Flags, string(e.JSON))
		}
	}
	return all
}

func TestCheck(t *testing.T) {
	path := newPath(t)
	writeSample(t, path)
	r, problems := check(t, path)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	want := Report{Conversations: 303, Events: 3*sampleEvents + 2, Records: 1, Size: info.Size(), Free: r.Free}
	if r != want || problems != "" || r.Free == 0 {
		t.Errorf("Check = %+v, %s, want %+v and free pages", r, problems, want)
	}

	// A file that was not closed, with what a deletion has left.
	s := openStore(t, path)
	if _, err := Check(t.Context(), path, Watcher{}); !errors.Is(err, store.ErrInUse) {
		t.Errorf("Check of a file in use = %v, want %v", err, store.ErrInUse)
	}
	add(t, s, "d", "{}")
	copied := newPath(t)
	copyFile(t, path, copied)
	removeAlone(t, copied, "a", count{events: 3*sampleEvents + 3, keys: 1, marks: 1})
	withBolt(t, copied, &bolt.Options{NoFreelistSync: true}, func(db *bolt.DB) error {
		return db.Update(func(*bolt.Tx) error { return nil })
	})
	if r, problems := check(t, copied); r.Conversations != 303 || r.Events != 2*sampleEvents+2 || problems != "" {
		t.Errorf("Check = %+v, %s, want the events that are not deleted", r, problems)
	}

	ctx, cancel := context.WithCancel(t.Context())
	stop := Watcher{Progress: func(done, total int64) {
		if done <= 0 || done > total {
			t.Errorf("progress %d of %d", done, total)
		}
		cancel()
	}}
	if _, err := Check(ctx, copied, stop); !errors.Is(err, context.Canceled) {
		t.Errorf("Check = %v, want %v", err, context.Canceled)
	}
	if _, err := Check(t.Context(), filepath.Join(t.TempDir(), "none"), Watcher{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Check of no file = %v, want %v", err, os.ErrNotExist)
	}
	empty := newPath(t)
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r, problems := check(t, empty); r != (Report{}) || problems != "" {
		t.Errorf("Check of an empty file = %+v, %s, want nothing", r, problems)
	}
	withBolt(t, empty, nil, func(*bolt.DB) error { return nil }) // which makes its pages
	if r, problems := check(t, empty); r.Conversations != 0 || problems != "" {
		t.Errorf("Check of a file without buckets = %+v, %s, want nothing", r, problems)
	}
}

// damages are ways in which a sample is damaged, and what Check tells of them.
var damages = []struct {
	name  string
	bytes func(file []byte) []byte
	bolt  func(tx *bolt.Tx) error
	want  string
	lost  int // most titles and events that Salvage cannot find where they were
}{
	{name: "event", bytes: replace(`{"keyed":1}`, `{"keyed":2}`), want: `events: conversation "a", event 500: stored data is damaged`, lost: 1},
	{name: "conversation", bytes: replace("title of b", "tItle of b"), want: `conversations: conversation "b": stored data is damaged`, lost: 1}, // its title
	{name: "record", bytes: replace(`{"s":1}`, `{"s":2}`), want: "records: settings: stored data is damaged"},
	{name: "key", bytes: func(file []byte) []byte {
		digest := sha256.Sum256([]byte("digest"))
		return bytes.ReplaceAll(file, digest[:], make([]byte, 32))
	}, want: `keys: conversation "a", key `},

	{name: "orphan", bolt: func(tx *bolt.Tx) error { return putEvent(tx, 9999, 1, seal(0, []byte("{}"))) }, want: "events: those of birth 9999 have no conversation"},
	{name: "conversation without order", bolt: func(tx *bolt.Tx) error {
		err := tx.Bucket(newestBucket).Delete(newestKey(store.Conversation{Birth: 3}))
		return errors.Join(err, tx.Bucket(conversationsBucket).Put([]byte("b"), nil))
	}, want: `conversations: conversation "b": stored data is damaged`, lost: sampleEvents + 2},
	{name: "short event key", bolt: put(eventsBucket, "short", ""), want: "events: 73686f7274 is no key of an event"},
	{name: "short key", bolt: put(keysBucket, "short", ""), want: "keys: 73686f7274 is none"},
	{name: "mark", bolt: put(deletedBucket, "abcdefgh", "abcdefga"), want: "deleted: the mark"},
	{name: "order", bolt: put(newestBucket, "short", "a"), want: "newest: 73686f7274 is no place in the order"},
	{name: "order of nothing", bolt: put(newestBucket, strings.Repeat("x", 20), "a"), want: `newest: the entry of "a" is none of a conversation`},
	{name: "no order", bolt: func(tx *bolt.Tx) error {
		k, _ := tx.Bucket(newestBucket).Cursor().First()
		return tx.Bucket(newestBucket).Delete(k)
	}, want: "newest: it says that there are 303 conversations and has 302, and there are 303"},
	{name: "another's conversation", bolt: func(tx *bolt.Tx) error {
		return tx.Bucket(conversationsBucket).Put([]byte("z"), tx.Bucket(conversationsBucket).Get([]byte("a")))
	}, want: `conversations: conversation "z": stored data is damaged: it is another's`},
	{name: "shared birth", bolt: func(tx *bolt.Tx) error {
		return putConversation(tx, store.Conversation{ID: "z", Birth: 1})
	}, want: `conversations: conversations "a" and "z" share the birth 1`},
	{name: "no conversation", bolt: put(conversationsBucket, "z", string(seal(0, []byte("short")))), want: `conversations: conversation "z"`},
	{name: "no JSON", bolt: put(conversationsBucket, "z", string(seal(0, []byte("12345678{")))), want: `conversations: conversation "z"`},
	{name: "count of lines", bolt: func(tx *bolt.Tx) error { return tx.Bucket(conversationsBucket).SetSequence(2) }, want: "conversations: it says that there are 2 of other lines, and there are 0"},
	{name: "last birth", bolt: func(tx *bolt.Tx) error { return tx.Bucket(metaBucket).SetSequence(3) }, want: "meta: the last birth is 3, and there is 304"},
	{name: "schema", bolt: put(metaBucket, "schema", "\x00\x00\x00\x02"), want: `meta: "schema" is not 1`},
	{name: "missing bucket", bolt: func(tx *bolt.Tx) error { return tx.DeleteBucket(keysBucket) }, want: "keys is missing"},
	{name: "strange bucket", bolt: func(tx *bolt.Tx) error { _, err := tx.CreateBucket([]byte("strange")); return err }, want: `"strange" is no part of a store`},
	{name: "nested bucket", bolt: func(tx *bolt.Tx) error {
		_, err := tx.Bucket(recordsBucket).CreateBucket([]byte("nested"))
		return err
	}, want: `records has a bucket "nested", and should have none`},

	{name: "type", bytes: first(isLeaf, func(page []byte) { native.PutUint16(page[8:], 0x55) }), want: "is no page of a tree, its flags are 0x55", lost: onPage},
	{name: "id", bytes: first(isLeaf, func(page []byte) { page[1] ^= 0x10 }), want: " calls itself ", lost: onPage},
	{name: "count", bytes: first(isLeaf, func(page []byte) { native.PutUint16(page[10:], 0xFFF0) }), want: "an element lies outside of it", lost: onPage},
	{name: "fewer", bytes: first(isBranch, func(page []byte) { native.PutUint16(page[10:], 0) }), want: "is an empty branch"},
	{name: "overflow", bytes: first(isLeaf, func(page []byte) { native.PutUint32(page[12:], 0xFFFF_FF00) }), want: "beyond the end", lost: onPage},
	{name: "position", bytes: first(isLeaf, func(page []byte) { native.PutUint32(page[pageHeader+4:], 0xFFFF_FF00) }), want: "an element lies outside of it", lost: onPage},
	{name: "size", bytes: first(isLeaf, func(page []byte) { native.PutUint32(page[pageHeader+12:], 0xFFFF_FF00) }), want: "an element lies outside of it", lost: onPage},
	{name: "key order", bytes: first(isLeaf, func(page []byte) { page[pageHeader+int(native.Uint32(page[pageHeader+4:]))] ^= 0x80 }), want: "its keys are out of order", lost: onPage},
	{name: "child", bytes: first(isBranch, func(page []byte) {
		copy(page[pageHeader+8:pageHeader+16], page[pageHeader+elementSize+8:])
	}), want: " of another page"},
	{name: "twice", bytes: func(file []byte) []byte {
		f := fileOf(file)
		root := file[f.Meta.Root*uint64(f.Meta.PageSize):]
		of := func(bucket []byte) []byte { return root[bytes.Index(root, bucket)+len(bucket):] } // the value follows the key
		copy(of(newestBucket)[:8], of(eventsBucket))
		return file
	}, want: "is used twice"},
	{name: "no such page", bytes: first(isBranch, func(page []byte) { native.PutUint64(page[pageHeader+8:], 1<<60) }), want: "is none of the file's 2 to"},
	{name: "list of free pages", bytes: first(isFreelist, func(page []byte) { native.PutUint64(page[pageHeader+8:], 1<<60) }), want: "the list of free pages at page"},
	{name: "free and in use", bytes: func(file []byte) []byte {
		m, _ := boltfile.ReadMeta(bytes.NewReader(file), 0)
		return first(isFreelist, func(page []byte) {
			native.PutUint16(page[10:], 1)
			native.PutUint64(page[pageHeader:], m.Root)
		})(file)
	}, want: "is in use and in the list of free pages"},
	{name: "lost pages", bytes: first(isFreelist, func(page []byte) { native.PutUint16(page[10:], native.Uint16(page[10:])-1) }), want: "1 pages are neither in use nor free"},
	{name: "meta", bytes: func(file []byte) []byte { file[40] ^= 1; return file }, want: "the meta page 0 is damaged"},
	{name: "metas", bytes: func(file []byte) []byte {
		file[40] ^= 1
		file[os.Getpagesize()+40] ^= 1
		return file
	}, want: "both meta pages are damaged"},
	{name: "cut short", bytes: func(file []byte) []byte {
		m := fileOf(file).Meta
		return file[:int64(m.Pages-1)*int64(m.PageSize)]
	}, want: "cut short", lost: onPage},
}

// onPage is more events than a page has.
var onPage = os.Getpagesize() / len(benchEvent)

func replace(old, new string) func([]byte) []byte {
	return func(file []byte) []byte { return bytes.ReplaceAll(file, []byte(old), []byte(new)) }
}

func put(bucket []byte, key, value string) func(*bolt.Tx) error {
	return func(tx *bolt.Tx) error { return tx.Bucket(bucket).Put([]byte(key), []byte(value)) }
}

// first changes the first page that is in use and is chosen.
func first(choose func(page []byte) bool, change func(page []byte)) func([]byte) []byte {
	return func(file []byte) []byte {
		f := fileOf(file)
		used := boltfile.Walk{Reader: f, Problem: func([][]byte, error) {}}
		free, span, _ := f.FreePages()
		_ = used.All()
		size := int(f.Meta.PageSize)
		for at := 2 * size; at < len(file); at += size {
			id := uint64(at / size)
			inTree := used.Has(id) && !slices.Contains(free, id) || span > 0 && id == f.Meta.Freelist
			if page := file[at : at+size]; inTree && native.Uint64(page) == id && choose(page) {
				change(page)
				return file
			}
		}
		panic("no such page")
	}
}

// fileOf reads pages of a file in memory.
func fileOf(file []byte) boltfile.Reader {
	m, _ := boltfile.ReadMeta(bytes.NewReader(file), 0)
	if other, ok := boltfile.ReadMeta(bytes.NewReader(file), int64(os.Getpagesize())); ok && other.TxID > m.TxID {
		m = other
	}
	return boltfile.Reader{File: bytes.NewReader(file), Meta: m}
}

// Of a page of bbolt: see package boltfile.
const (
	branchFlag, leafFlag, freelistFlag = 0x01, 0x02, 0x10
	pageHeader, elementSize            = 16, 16
)

var native = binary.NativeEndian

func isLeaf(page []byte) bool {
	return native.Uint16(page[8:]) == leafFlag && native.Uint16(page[10:]) > 2 && native.Uint32(page[12:]) == 0 && bytes.Contains(page, benchEvent)
}
func isBranch(page []byte) bool {
	return native.Uint16(page[8:]) == branchFlag && native.Uint16(page[10:]) > 2
}
func isFreelist(page []byte) bool { return native.Uint16(page[8:]) == freelistFlag }

func damage(t *testing.T, path string, change func([]byte) []byte, inBolt func(tx *bolt.Tx) error) {
	t.Helper()
	if inBolt != nil {
		withBolt(t, path, nil, func(db *bolt.DB) error { return db.Update(inBolt) })
		return
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := change(bytes.Clone(file))
	if bytes.Equal(changed, file) {
		t.Fatal("nothing is damaged")
	}
	if err := os.WriteFile(path, changed, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDamage damages a sample, and wants Check to find it, Compact to leave
// the file alone, and Salvage to save all the rest.
func TestDamage(t *testing.T) {
	sample := newPath(t)
	writeSample(t, sample)
	all := contents(t, sample)
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			path := newPath(t)
			copyFile(t, sample, path)
			damage(t, path, d.bytes, d.bolt)
			_, problems := check(t, path)
			if !strings.Contains(problems, d.want) {
				t.Errorf("Check tells %s, want %s", problems, d.want)
			}

			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := Compact(t.Context(), path, Watcher{}); err != nil {
				if after, err := os.ReadFile(path); !bytes.Equal(before, after) || err != nil {
					t.Errorf("Compact refused, and the file changed, %v", err)
				}
			} else if d.name != "meta" && d.name != "lost pages" {
				t.Errorf("Compact = nil, want a refusal")
			}
			if left, err := filepath.Glob(path + "?*"); len(left) > 0 || err != nil {
				t.Errorf("Compact leaves %v, %v", left, err)
			}

			saved := newPath(t)
			r, err := Salvage(t.Context(), path, saved, Watcher{})
			if err != nil {
				t.Fatalf("Salvage = %v", err)
			}
			if checked, problems := check(t, saved); problems != "" || checked.Events != r.Events || checked.Conversations != r.Conversations {
				t.Errorf("what was saved: %+v, %s, want %+v", checked, problems, r)
			}
			got := contents(t, saved)
			lost := 0
			for key, text := range all {
				if got[key] != text {
					lost++
				}
			}
			if d.name == "conversation without order" && got["recovered-3/0"] != all["b/0"] {
				t.Errorf("event 0 of b is not recovered")
			}
			if lost > d.lost {
				t.Errorf("%d are lost of %d, want %d", lost, len(all), d.lost)
			}
		})
	}
}

// TestFaultRandomDamage changes bytes anywhere. Nothing may panic, and what is saved
// is in order and has nothing that was not there.
func TestFaultRandomDamage(t *testing.T) {
	sample := newPath(t)
	writeSample(t, sample)
	all := contents(t, sample)
	texts := make(map[string]bool)
	for text := range maps.Values(all) {
		texts[text] = true
	}
	texts[""] = true // the title of a conversation whose record is lost
	texts["title of gone"] = true
	file, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	for round := range storetest.Rounds(t, 16, 300) {
		r := rand.New(rand.NewPCG(seed, uint64(round)))
		changed := bytes.Clone(file)
		page := r.IntN(len(file)/os.Getpagesize()) * os.Getpagesize()
		for range 1 + r.IntN(20) {
			at := page + r.IntN(64)
			if r.IntN(3) == 0 {
				at = r.IntN(len(file))
			}
			changed[at] ^= 1 << r.IntN(8)
		}
		path, saved := newPath(t), newPath(t)
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		check(t, path)
		if _, err := Salvage(t.Context(), path, saved, Watcher{}); err != nil {
			t.Fatalf("seed %d, round %d: Salvage = %v", seed, round, err)
		}
		if _, problems := check(t, saved); problems != "" {
			t.Errorf("seed %d, round %d: what was saved: %s", seed, round, problems)
		}
		for key, text := range contents(t, saved) {
			if !texts[text] {
				t.Errorf("seed %d, round %d: saved %s is %.80s, which was never there", seed, round, key, text)
			}
		}
	}
}

func TestSalvageRefused(t *testing.T) {
	path := newPath(t)
	s := openStore(t, path)
	to := filepath.Join(t.TempDir(), "new.db")
	if _, err := Salvage(t.Context(), path, to, Watcher{}); !errors.Is(err, store.ErrInUse) {
		t.Errorf("Salvage of a file in use = %v, want %v", err, store.ErrInUse)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Salvage(t.Context(), path, path, Watcher{}); !errors.Is(err, os.ErrExist) {
		t.Errorf("Salvage to a file that exists = %v, want %v", err, os.ErrExist)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := Salvage(ctx, path, to, Watcher{Progress: func(_, _ int64) { cancel() }}); !errors.Is(err, context.Canceled) {
		t.Errorf("Salvage = %v, want %v", err, context.Canceled)
	}
	if _, err := os.Stat(to); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Salvage leaves its file, %v", err)
	}
	if _, err := Salvage(t.Context(), to, to+"2", Watcher{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Salvage of no file = %v, want %v", err, os.ErrNotExist)
	}
}

func TestCompact(t *testing.T) {
	path := newPath(t)
	writeSample(t, path)
	all := contents(t, path)
	if err := os.WriteFile(path+compactSuffix, []byte("left behind"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, after, err := Compact(t.Context(), path, Watcher{})
	if err != nil || before.Size <= after.Size || after.Events != 3*sampleEvents+2 {
		t.Fatalf("Compact = %+v, %+v, %v, want less", before, after, err)
	}
	if r, problems := check(t, path); r != after || problems != "" {
		t.Errorf("Check = %+v, %s, want %+v", r, problems, after)
	}
	if got := contents(t, path); !maps.Equal(got, all) {
		t.Errorf("%d contents, want the %d that were there", len(got), len(all))
	}
	s := openStore(t, path)
	if c, err := s.Create(t.Context(), store.Conversation{ID: "new"}); c.Birth != 305 || err != nil {
		t.Errorf("Create = %+v, %v, want birth 305", c, err)
	}
	e := store.NewEvent{JSON: []byte(`{"keyed":1}`), Key: "k", Digest: sha256.Sum256([]byte("digest"))}
	if id, repeated, err := s.Append(t.Context(), "a", e); id != sampleEvents || !repeated || err != nil {
		t.Errorf("Append of a used key = %d, %v, %v, want %d, true", id, repeated, err, sampleEvents)
	}
	if value, err := s.Record(t.Context(), "settings"); string(value) != `{"s":1}` || err != nil {
		t.Errorf("Record = %s, %v", value, err)
	}
	if _, _, err := Compact(t.Context(), path, Watcher{}); !errors.Is(err, store.ErrInUse) {
		t.Errorf("Compact of a file in use = %v, want %v", err, store.ErrInUse)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, _, err := Compact(ctx, path, Watcher{Progress: func(_, _ int64) { cancel() }}); !errors.Is(err, context.Canceled) {
		t.Errorf("Compact = %v, want %v", err, context.Canceled)
	}
	if left, err := filepath.Glob(path + "?*"); len(left) > 0 || err != nil {
		t.Errorf("Compact leaves %v, %v", left, err)
	}
	if _, _, err := Compact(t.Context(), path+".none", Watcher{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Compact of no file = %v, want %v", err, os.ErrNotExist)
	}
}

// TestFaultCompactKilled kills processes that compact at random times: the file has
// all at any of them.
func TestFaultCompactKilled(t *testing.T) {
	path := newPath(t)
	writeSample(t, path)
	all := contents(t, path)
	began := time.Now()
	if err := child(t, "compact", path).Run(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	for round := range storetest.Rounds(t, 6, 60) {
		cmd := child(t, "compact", path)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(time.Duration(r.Int64N(int64(took))), func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		kill.Stop()
		if _, problems := check(t, path); problems != "" {
			t.Fatalf("seed %d, round %d: %s", seed, round, problems)
		}
		if got := contents(t, path); !maps.Equal(got, all) {
			t.Fatalf("seed %d, round %d: %d contents, want the %d that were there", seed, round, len(got), len(all))
		}
	}
}

// TestBackup makes backups while others write.
func TestBackup(t *testing.T) {
	path := newPath(t)
	s := openStore(t, path)
	add(t, s, "c")
	ctx, cancel := context.WithCancel(t.Context())
	written := make(chan int64)
	go func() {
		n := int64(0)
		for ctx.Err() == nil {
			if id, _, err := s.Append(context.WithoutCancel(ctx), "c", store.NewEvent{JSON: benchEvent}); err == nil {
				n = id + 1
			}
			select {
			case written <- n:
			default:
			}
		}
		written <- n
	}()
	for range 5 {
		n := <-written // so many are there before
		name := newPath(t)
		file, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.Backup(t.Context(), file), file.Close()); err != nil {
			t.Fatalf("Backup = %v", err)
		}
		if r, problems := check(t, name); int64(r.Events) < n || problems != "" {
			t.Errorf("the backup: %+v, %s, want at least %d events", r, problems, n)
		}
		if got := contents(t, name); int64(len(got)) < n+1 {
			t.Errorf("the backup has %d contents, want at least %d", len(got), n+1)
		}
	}
	cancel()
	<-written
	if err := s.Backup(ctx, &bytes.Buffer{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Backup = %v, want %v", err, context.Canceled)
	}
	if err := Backup(t.Context(), path, &bytes.Buffer{}); !errors.Is(err, store.ErrInUse) {
		t.Errorf("Backup of a file in use = %v, want %v", err, store.ErrInUse)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(t.Context(), &bytes.Buffer{}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Backup of a closed store = %v, want %v", err, store.ErrClosed)
	}
	var copied bytes.Buffer
	if err := Backup(t.Context(), path, &copied); err != nil {
		t.Fatalf("Backup = %v", err)
	}
	name := newPath(t)
	if err := os.WriteFile(name, copied.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := contents(t, name), contents(t, path); !maps.Equal(got, want) {
		t.Errorf("the backup has %d contents, want %d", len(got), len(want))
	}
	if err := Backup(t.Context(), path+".none", &copied); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Backup of no file = %v, want %v", err, os.ErrNotExist)
	}
}
