package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// bbolt trusts what it maps: a damaged page makes it panic, in goroutines of
// its own too, or read where nothing is mapped. The reader of this file trusts
// nothing. It reads a database as a plain file, tests each number before it is
// used, and goes on behind what is damaged.
//
// A file is pages; one whose header names an overflow takes so many pages more.
//
//	page      id 8, flags 2, count 2, overflow 4, then by flags
//	  branch    count × (position 4, key size 4, page 8), keys
//	  leaf      count × (flags 4, position 4, key size 4, value size 4), keys and values
//	  freelist  count × page 8; count 0xFFFF says that the first is the count
//	bucket    value of a leaf's element with flag 1: root page 8, sequence 8;
//	          a root of 0 says that the page follows right here
//
// Positions count from the element. Numbers are the machine's.
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

// pages reads the pages of a file.
type pages struct {
	file io.ReaderAt
	meta meta
	// ahead, when set, makes reading many pages quick and free of garbage: a
	// leaf without buckets is good until the next one is read, no longer.
	ahead *readAhead
}

// readAhead holds a stretch of a file.
type readAhead struct {
	from     int64
	bytes    []byte
	elements []element
}

const readAheadBytes = 256 << 10

// at returns n bytes of the file at an offset, which may be good until the next
// call only.
func (p *pages) at(offset, n int64) ([]byte, error) {
	if p.ahead == nil || n > readAheadBytes {
		b := make([]byte, n)
		_, err := p.file.ReadAt(b, offset)
		return b, err
	}
	a := p.ahead
	if offset < a.from || offset+n > a.from+int64(len(a.bytes)) {
		if a.bytes == nil {
			a.bytes = make([]byte, readAheadBytes)
		}
		read, err := p.file.ReadAt(a.bytes[:readAheadBytes], offset)
		a.from, a.bytes = offset, a.bytes[:read]
		if int64(read) < n {
			return nil, err
		}
	}
	return a.bytes[offset-a.from:][:n], nil
}

// A page is one that is in order in itself.
type page struct {
	flags    uint16
	span     uint64 // pages that it takes, at least 1
	elements []element
}

// An element of a page: of a branch key and child, of a leaf key and value.
type element struct {
	key, value []byte
	child      uint64
	bucket     bool
}

// read reads and tests one page of a tree.
func (p *pages) read(id uint64) (page, error) {
	b, err := p.bytes(id)
	if err != nil {
		return page{}, err
	}
	flags := native.Uint16(b[8:])
	if flags != branchFlag && flags != leafFlag {
		return page{}, fmt.Errorf("page %d is no page of a tree, its flags are %#x", id, flags)
	}
	var list []element
	if p.ahead != nil {
		list = p.ahead.elements[:0]
	}
	list, err = elements(list, b)
	if err == nil && p.ahead != nil {
		p.ahead.elements = list
		if flags == branchFlag || slices.ContainsFunc(list, func(e element) bool { return e.bucket }) {
			list, err = elements(nil, bytes.Clone(b)) // others are read before it is done with
		}
	}
	if err != nil {
		return page{}, fmt.Errorf("page %d: %w", id, err)
	}
	return page{flags, uint64(len(b)) / uint64(p.meta.pageSize), list}, nil
}

// bytes reads a page and its overflow, once its header is in order.
func (p *pages) bytes(id uint64) ([]byte, error) {
	if id < 2 || id >= p.meta.pages {
		return nil, fmt.Errorf("page %d is none of the file's 2 to %d", id, p.meta.pages-1)
	}
	size := int64(p.meta.pageSize)
	b, err := p.at(int64(id)*size, size)
	if err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	if own := native.Uint64(b); own != id {
		return nil, fmt.Errorf("page %d calls itself %d", id, own)
	}
	more := uint64(native.Uint32(b[12:]))
	if id+more >= p.meta.pages {
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
// ascend. They lie one behind the other, so that a page that tells another
// number of them than it has is found.
func elements(list []element, b []byte) ([]element, error) {
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
		var e element
		var start, keySize, valueSize uint64
		if native.Uint16(b[8:]) == branchFlag {
			start, keySize = uint64(native.Uint32(head)), uint64(native.Uint32(head[4:]))
			e.child = native.Uint64(head[8:])
		} else {
			e.bucket = native.Uint32(head)&bucketFlag != 0
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
		e.key, e.value = b[start:start+keySize], b[start+keySize:end]
		if len(list) > first && bytes.Compare(list[len(list)-1].key, e.key) >= 0 {
			return nil, errKeyOrder
		}
		list = append(list, e)
	}
	return list, nil
}

// freelist reads the list of free pages, nil when the file has none. They must
// ascend and be pages of the file.
func (p *pages) freelist() (ids []uint64, span uint64, err error) {
	if !p.meta.hasFreelist() {
		return nil, 0, nil
	}
	b, err := p.bytes(p.meta.freelist)
	if err != nil {
		return nil, 0, err
	}
	count, list := uint64(native.Uint16(b[10:])), b[pageHeader:]
	if count == 0xFFFF {
		count, list = native.Uint64(list), list[8:]
	}
	if flags := native.Uint16(b[8:]); flags != freelistFlag || count > uint64(len(list)/8) {
		return nil, 0, fmt.Errorf("page %d is no list of free pages", p.meta.freelist)
	}
	ids = make([]uint64, count)
	for i := range ids {
		ids[i] = native.Uint64(list[8*i:])
		if ids[i] < 2 || ids[i] >= p.meta.pages || i > 0 && ids[i] <= ids[i-1] {
			return nil, 0, fmt.Errorf("the list of free pages at page %d is out of order", p.meta.freelist)
		}
	}
	return ids, uint64(len(b)) / uint64(p.meta.pageSize), nil
}

// A walk visits what a file has.
type walk struct {
	pages
	seen []uint64 // a bit for each page that has been visited
	free int      // pages in the list of free ones

	// problem is told what is damaged, and in which bucket (none: in the tree
	// of the buckets). found, when set, gets every element of a leaf, in order,
	// with the names of the buckets that it lies in; a bucket's own element
	// comes before what is in it, and its value begins with its header.
	// visited, when set, is told how many pages are done. An error of the two
	// ends the walk.
	problem func(bucket [][]byte, err error)
	found   func(bucket [][]byte, e element) error
	visited func(span uint64) error
}

// mark notes a run of pages as visited; false says that one was already.
func (w *walk) mark(id, span uint64) bool {
	if w.seen == nil {
		w.seen = make([]uint64, w.meta.pages/64+1)
	}
	fresh := true
	for n := id; n < id+span; n++ {
		fresh = fresh && !w.has(n)
		w.seen[n/64] |= 1 << (n % 64)
	}
	return fresh
}

func (w *walk) has(id uint64) bool { return w.seen[id/64]>>(id%64)&1 == 1 }

// all walks the whole file. What is damaged is a problem; an error is one of
// found's or visited's.
func (w *walk) all() error {
	free, span, err := w.freelist()
	if err != nil {
		w.problem(nil, err)
	}
	w.free = len(free)
	w.mark(0, 2)
	if span > 0 {
		w.mark(w.meta.freelist, span)
	}
	if err := w.tree(w.meta.root, nil, nil, nil, 0); err != nil {
		return err
	}
	for _, id := range free {
		if !w.mark(id, 1) {
			w.problem(nil, fmt.Errorf("page %d is in use and in the list of free pages", id))
		}
	}
	return nil
}

// tree walks the tree below a page, whose keys must be from low to just before
// high where these are not nil.
func (w *walk) tree(id uint64, bucket [][]byte, low, high []byte, depth int) error {
	p, err := w.read(id)
	switch {
	case err != nil:
	case depth > maxDepth:
		err = fmt.Errorf("page %d lies too deep", id)
	case len(p.elements) > 0 && (bytes.Compare(p.elements[0].key, low) < 0 || high != nil && bytes.Compare(p.elements[len(p.elements)-1].key, high) >= 0):
		err = fmt.Errorf("page %d has keys of another page", id)
	case len(p.elements) == 0 && p.flags == branchFlag:
		err = fmt.Errorf("page %d is an empty branch", id)
	case !w.mark(id, p.span): // only now: Salvage looks at pages that are not marked
		err = fmt.Errorf("page %d is used twice", id)
	}
	if err != nil {
		w.problem(bucket, err)
		return nil
	}
	if w.visited != nil {
		if err := w.visited(p.span); err != nil {
			return err
		}
	}
	if p.flags == leafFlag {
		return w.leaf(id, bucket, p.elements, depth)
	}
	for i, e := range p.elements {
		next := high
		if i+1 < len(p.elements) {
			next = p.elements[i+1].key
		}
		if err := w.tree(e.child, bucket, e.key, next, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// leaf visits the elements of a leaf, and the buckets among them.
func (w *walk) leaf(id uint64, bucket [][]byte, list []element, depth int) error {
	for _, e := range list {
		if e.bucket && len(e.value) < bucketHeader {
			w.problem(bucket, fmt.Errorf("page %d: the bucket %q has no root", id, e.key))
			continue
		}
		if w.found != nil {
			if err := w.found(bucket, e); err != nil {
				return err
			}
		}
		if !e.bucket {
			continue
		}
		inside := append(bucket[:len(bucket):len(bucket)], e.key)
		if root := native.Uint64(e.value); root != 0 {
			if err := w.tree(root, inside, nil, nil, depth+1); err != nil {
				return err
			}
			continue
		}
		inline := e.value[bucketHeader:]
		if len(inline) < pageHeader || native.Uint16(inline[8:]) != leafFlag || depth > maxDepth {
			w.problem(bucket, fmt.Errorf("page %d: the bucket %q has no root", id, e.key))
			continue
		}
		elements, err := elements(nil, inline)
		if err != nil {
			w.problem(bucket, fmt.Errorf("page %d: the bucket %q: %w", id, e.key, err))
			continue
		}
		if err := w.leaf(id, inside, elements, depth+1); err != nil {
			return err
		}
	}
	return nil
}
