// Package boltfile reads the file of a bbolt database without bbolt.
//
// bbolt trusts what it maps. A damaged page makes it panic, in goroutines of
// its own too, where nobody can recover; or it reads where nothing is mapped,
// or beyond the end of a file that was cut short, and the process dies. Its
// own check reads by the same way. So what must cope with a damaged file reads
// it here first: opening one after a crash, checking it, and copying what can
// still be read.
//
// This reader trusts nothing: it reads a plain file, tests each number before
// it is used, and goes on behind what is damaged. It writes nothing.
//
// A file is pages; one whose header names an overflow takes so many pages more.
//
//	page      id 8, flags 2, count 2, overflow 4, then by flags
//	  meta      magic 4, version 4, page size 4, flags 4, root bucket 16,
//	            freelist 8, pages 8, transaction 8, FNV-1a 8 of the meta
//	  branch    count × (position 4, key size 4, page 8), keys
//	  leaf      count × (flags 4, position 4, key size 4, value size 4), keys and values
//	  freelist  count × page 8; count 0xFFFF says that the first is the count
//	bucket    value of a leaf's element with flag 1: root page 8, sequence 8;
//	          a root of 0 says that the page follows right here
//
// Positions count from the element. Numbers are the machine's. The pages 0 and 1
// are metas, of which the later transaction counts.
package boltfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"slices"

	"github.com/openhands-local/openhands-local/store"
)

const (
	branchFlag   = 0x01
	leafFlag     = 0x02
	freelistFlag = 0x10

	pageHeader   = 16
	elementSize  = 16
	bucketHeader = 16

	bucketFlag = 0x01

	// maxDepth bounds a tree: real ones have a handful of levels.
	maxDepth = 64
)

var native = binary.NativeEndian

// A State is what a file says of itself.
type State struct {
	Size int64 // in bytes
	Meta Meta  // the zero value when no meta page is valid
}

// Inspect reads what bbolt's meta pages say of the file, and refuses one that
// is shorter than they say: bbolt opens it, and the process dies when it reads
// beyond the end. A file without a valid meta page is left for bbolt to refuse.
func Inspect(f *os.File) (State, error) {
	pageSize := int64(os.Getpagesize())
	meta, ok := ReadMeta(f, 0)
	if ok {
		pageSize = int64(meta.PageSize)
	}
	if second, ok2 := ReadMeta(f, pageSize); ok2 && (!ok || second.TxID > meta.TxID) {
		meta, ok = second, true
	}
	// The size is asked for last: another process may have the file open, and
	// it makes the file longer before a meta page says so.
	info, err := f.Stat()
	if err != nil {
		return State{}, err
	}
	found := State{Size: info.Size()}
	if !ok {
		return found, nil
	}
	found.Meta = meta
	if want := int64(meta.Pages) * int64(meta.PageSize); found.Size < want {
		return found, fmt.Errorf("%w: the file has been cut short, it has %d of %d bytes", store.ErrCorrupt, found.Size, want)
	}
	return found, nil
}

// A Meta is the part of a bbolt meta page that matters here.
type Meta struct {
	PageSize uint32
	Root     uint64 // page that the tree begins with
	Freelist uint64 // page of the list of free pages: see HasFreelist
	Pages    uint64 // that the file must have
	TxID     uint64
}

// HasFreelist reports whether the file has a list of free pages: it was closed.
func (m Meta) HasFreelist() bool {
	const none = 1<<64 - 1
	return m.PageSize > 0 && m.Freelist != none
}

// ReadMeta reads the meta page at an offset; ok reports that it is valid.
func ReadMeta(f io.ReaderAt, offset int64) (m Meta, ok bool) {
	b := make([]byte, 80)
	if _, err := f.ReadAt(b, offset); err != nil {
		return Meta{}, false
	}
	sum := fnv.New64a()
	sum.Write(b[16:72])
	order := binary.NativeEndian
	return Meta{
		PageSize: order.Uint32(b[24:]),
		Root:     order.Uint64(b[32:]),
		Freelist: order.Uint64(b[48:]),
		Pages:    order.Uint64(b[56:]),
		TxID:     order.Uint64(b[64:]),
	}, order.Uint32(b[16:]) == 0xED0CDAED && order.Uint64(b[72:]) == sum.Sum64()
}

// A Reader reads the pages of a file.
type Reader struct {
	File io.ReaderAt
	Meta Meta
	// Ahead makes reading many pages quick and free of garbage: a leaf without
	// buckets is good until the next one is read, no longer.
	Ahead bool

	ahead readAhead
}

// readAhead holds a stretch of a file.
type readAhead struct {
	from     int64
	bytes    []byte
	elements []Element
}

const readAheadBytes = 256 << 10

// at returns n bytes of the file at an offset, which may be good until the next
// call only.
func (p *Reader) at(offset, n int64) ([]byte, error) {
	if !p.Ahead || n > readAheadBytes {
		b := make([]byte, n)
		_, err := p.File.ReadAt(b, offset)
		return b, err
	}
	a := &p.ahead
	if offset < a.from || offset+n > a.from+int64(len(a.bytes)) {
		if a.bytes == nil {
			a.bytes = make([]byte, readAheadBytes)
		}
		read, err := p.File.ReadAt(a.bytes[:readAheadBytes], offset)
		a.from, a.bytes = offset, a.bytes[:read]
		if int64(read) < n {
			return nil, err
		}
	}
	return a.bytes[offset-a.from:][:n], nil
}

// A Page is one of a tree that is in order in itself.
type Page struct {
	Leaf     bool   // else it is a branch
	Span     uint64 // pages that it takes, at least 1
	Elements []Element
}

// An element of a page: of a branch key and child, of a leaf key and value.
type Element struct {
	Key, Value []byte
	Bucket     bool // the value is a bucket's

	child uint64
}

// Sequence is that of a bucket.
func (e Element) Sequence() uint64 { return native.Uint64(e.Value[8:]) }

// Read reads and tests one page of a tree.
func (p *Reader) Read(id uint64) (Page, error) {
	b, err := p.bytes(id)
	if err != nil {
		return Page{}, err
	}
	flags := native.Uint16(b[8:])
	if flags != branchFlag && flags != leafFlag {
		return Page{}, fmt.Errorf("page %d is no page of a tree, its flags are %#x", id, flags)
	}
	var list []Element
	if p.Ahead {
		list = p.ahead.elements[:0]
	}
	list, err = elements(list, b)
	if err == nil && p.Ahead {
		p.ahead.elements = list
		if flags == branchFlag || slices.ContainsFunc(list, func(e Element) bool { return e.Bucket }) {
			list, err = elements(nil, bytes.Clone(b)) // others are read before it is done with
		}
	}
	if err != nil {
		return Page{}, fmt.Errorf("page %d: %w", id, err)
	}
	return Page{flags == leafFlag, uint64(len(b)) / uint64(p.Meta.PageSize), list}, nil
}

// bytes reads a page and its overflow, once its header is in order.
func (p *Reader) bytes(id uint64) ([]byte, error) {
	if id < 2 || id >= p.Meta.Pages {
		return nil, fmt.Errorf("page %d is none of the file's 2 to %d", id, p.Meta.Pages-1)
	}
	size := int64(p.Meta.PageSize)
	b, err := p.at(int64(id)*size, size)
	if err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	if own := native.Uint64(b); own != id {
		return nil, fmt.Errorf("page %d calls itself %d", id, own)
	}
	more := uint64(native.Uint32(b[12:]))
	if id+more >= p.Meta.Pages {
		return nil, fmt.Errorf("page %d goes on for %d pages, beyond the end", id, more)
	}
	if more == 0 {
		return b, nil
	}
	if b, err = p.at(int64(id)*size, int64(1+more)*size); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	return b, nil
}

var (
	errPlace    = errors.New("an element lies outside of it")
	errGap      = errors.New("its elements do not lie one behind the other")
	errKeyOrder = errors.New("its keys are out of order")
)

// elements appends the elements of a branch or leaf to a list, whose keys must
// ascend. They lie one behind the other, so that a page that states another
// number of them than it has is found.
func elements(list []Element, b []byte) ([]Element, error) {
	count := uint64(native.Uint16(b[10:]))
	if pageHeader+count*elementSize > uint64(len(b)) {
		return nil, errPlace
	}
	first := len(list)
	list = slices.Grow(list, int(count))
	next := pageHeader + count*elementSize
	for i := range count {
		at := pageHeader + i*elementSize
		head := b[at:]
		var e Element
		var start, keySize, valueSize uint64
		if native.Uint16(b[8:]) == branchFlag {
			start, keySize = uint64(native.Uint32(head)), uint64(native.Uint32(head[4:]))
			e.child = native.Uint64(head[8:])
		} else {
			e.Bucket = native.Uint32(head)&bucketFlag != 0
			start, keySize, valueSize = uint64(native.Uint32(head[4:])), uint64(native.Uint32(head[8:])), uint64(native.Uint32(head[12:]))
		}
		start += at
		end := start + keySize + valueSize // of 32 bits each: no overflow
		if end > uint64(len(b)) {
			return nil, errPlace
		}
		if start != next {
			return nil, errGap
		}
		next = end
		e.Key, e.Value = b[start:start+keySize], b[start+keySize:end]
		if len(list) > first && bytes.Compare(list[len(list)-1].Key, e.Key) >= 0 {
			return nil, errKeyOrder
		}
		list = append(list, e)
	}
	return list, nil
}

// FreePages reads the list of free pages, nil when the file has none. They must
// ascend and be pages of the file.
func (p *Reader) FreePages() (ids []uint64, span uint64, err error) {
	if !p.Meta.HasFreelist() {
		return nil, 0, nil
	}
	b, err := p.bytes(p.Meta.Freelist)
	if err != nil {
		return nil, 0, err
	}
	count, list := uint64(native.Uint16(b[10:])), b[pageHeader:]
	if count == 0xFFFF {
		count, list = native.Uint64(list), list[8:]
	}
	if flags := native.Uint16(b[8:]); flags != freelistFlag || count > uint64(len(list)/8) {
		return nil, 0, fmt.Errorf("page %d is no list of free pages", p.Meta.Freelist)
	}
	ids = make([]uint64, count)
	for i := range ids {
		ids[i] = native.Uint64(list[8*i:])
		if ids[i] < 2 || ids[i] >= p.Meta.Pages || i > 0 && ids[i] <= ids[i-1] {
			return nil, 0, fmt.Errorf("the list of free pages at page %d is out of order", p.Meta.Freelist)
		}
	}
	return ids, uint64(len(b)) / uint64(p.Meta.PageSize), nil
}

// A Walk visits what a file has.
type Walk struct {
	Reader
	Free int // pages in the list of free ones, once All has returned

	// Problem gets what is damaged, and in which bucket (none: in the tree
	// of the buckets). Found, when set, gets every element of a leaf, in order,
	// with the names of the buckets that it lies in; a bucket's own element
	// comes before what is in it, and its value begins with its header.
	// Visited, when set, gets how many pages are done. An error of the two
	// ends the walk.
	Problem func(bucket [][]byte, err error)
	Found   func(bucket [][]byte, e Element) error
	Visited func(span uint64) error

	seen []uint64 // a bit for each page that has been visited
}

// mark notes a run of pages as visited; false says that one was already.
func (w *Walk) mark(id, span uint64) bool {
	if w.seen == nil {
		w.seen = make([]uint64, w.Meta.Pages/64+1)
	}
	fresh := true
	for n := id; n < id+span; n++ {
		fresh = fresh && !w.Has(n)
		w.seen[n/64] |= 1 << (n % 64)
	}
	return fresh
}

// Has reports whether All has been at a page, used or free.
func (w *Walk) Has(id uint64) bool { return w.seen[id/64]>>(id%64)&1 == 1 }

// All walks the whole file. What is damaged is a problem; an error is one of
// Found's or Visited's.
func (w *Walk) All() error {
	free, span, err := w.FreePages()
	if err != nil {
		w.Problem(nil, err)
	}
	w.Free = len(free)
	w.mark(0, 2)
	if span > 0 {
		w.mark(w.Meta.Freelist, span)
	}
	if err := w.tree(w.Meta.Root, nil, nil, nil, 0); err != nil {
		return err
	}
	for _, id := range free {
		if !w.mark(id, 1) {
			w.Problem(nil, fmt.Errorf("page %d is in use and in the list of free pages", id))
		}
	}
	return nil
}

// tree walks the tree below a page, whose keys must be from low to just before
// high where these are not nil.
func (w *Walk) tree(id uint64, bucket [][]byte, low, high []byte, depth int) error {
	p, err := w.Read(id)
	switch {
	case err != nil:
	case depth > maxDepth:
		err = fmt.Errorf("page %d lies too deep", id)
	case len(p.Elements) > 0 && (bytes.Compare(p.Elements[0].Key, low) < 0 || high != nil && bytes.Compare(p.Elements[len(p.Elements)-1].Key, high) >= 0):
		err = fmt.Errorf("page %d has keys of another page", id)
	case len(p.Elements) == 0 && !p.Leaf:
		err = fmt.Errorf("page %d is an empty branch", id)
	case !w.mark(id, p.Span): // only now: Salvage looks at pages that are not marked
		err = fmt.Errorf("page %d is used twice", id)
	}
	if err != nil {
		w.Problem(bucket, err)
		return nil
	}
	if w.Visited != nil {
		if err := w.Visited(p.Span); err != nil {
			return err
		}
	}
	if p.Leaf {
		return w.leaf(id, bucket, p.Elements, depth)
	}
	for i, e := range p.Elements {
		next := high
		if i+1 < len(p.Elements) {
			next = p.Elements[i+1].Key
		}
		if err := w.tree(e.child, bucket, e.Key, next, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// leaf visits the elements of a leaf, and the buckets among them.
func (w *Walk) leaf(id uint64, bucket [][]byte, list []Element, depth int) error {
	for _, e := range list {
		if e.Bucket && len(e.Value) < bucketHeader {
			w.Problem(bucket, fmt.Errorf("page %d: the bucket %q has no root", id, e.Key))
			continue
		}
		if w.Found != nil {
			if err := w.Found(bucket, e); err != nil {
				return err
			}
		}
		if !e.Bucket {
			continue
		}
		inside := append(bucket[:len(bucket):len(bucket)], e.Key)
		if root := native.Uint64(e.Value); root != 0 {
			if err := w.tree(root, inside, nil, nil, depth+1); err != nil {
				return err
			}
			continue
		}
		inline := e.Value[bucketHeader:]
		if len(inline) < pageHeader || native.Uint16(inline[8:]) != leafFlag || depth > maxDepth {
			w.Problem(bucket, fmt.Errorf("page %d: the bucket %q has no root", id, e.Key))
			continue
		}
		elements, err := elements(nil, inline)
		if err != nil {
			w.Problem(bucket, fmt.Errorf("page %d: the bucket %q: %w", id, e.Key, err))
			continue
		}
		if err := w.leaf(id, inside, elements, depth+1); err != nil {
			return err
		}
	}
	return nil
}
