package workspace

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// maxObject is the size in bytes of the largest git object that is read. It may
// be a thousandth of that in the file, so that go-git, which reads objects
// whole, is shown none before its size is known.
const maxObject = 16 << 20

// objects reads the objects of a repository, for one request.
type objects struct {
	fs    *gitFS
	cache cache.Object
	packs []pack // nil until one is asked for
}

type pack struct {
	name  string
	index *idxfile.MemoryIndex
}

// object returns the object called h: plumbing.ErrObjectNotFound, ErrTooLarge
// for one that is larger than maxObject, or what is wrong with it.
func (o *objects) object(h plumbing.Hash) (plumbing.EncodedObject, error) {
	found, err := o.loose(h)
	if errors.Is(err, fs.ErrNotExist) {
		return o.packed(h)
	}
	return found, err
}

// loose reads an object that has a file of its own:
//
//	zlib of: type SPACE size NUL content
func (o *objects) loose(h plumbing.Hash) (plumbing.EncodedObject, error) {
	name := h.String()
	f, err := o.fs.Open(o.fs.Join("objects", name[:2], name[2:]))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := zlib.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("git object %s: %w", h, err)
	}
	defer z.Close()
	r := bufio.NewReaderSize(z, 4096)
	const longest = len("commit 9223372036854775807\x00")
	head, _ := r.Peek(longest) // what is wrong shows in what follows
	head, _, _ = bytes.Cut(head, []byte{0})
	typ, length, _ := bytes.Cut(head, []byte{' '})
	t, err := plumbing.ParseObjectType(string(typ))
	if err != nil {
		return nil, fmt.Errorf("git object %s: %w", h, err)
	}
	size, err := strconv.ParseInt(string(length), 10, 64)
	if err != nil || size < 0 {
		return nil, fmt.Errorf("git object %s: size %q", h, length)
	}
	if size > maxObject {
		return nil, tooLarge(h)
	}
	_, _ = r.Discard(len(head) + 1)
	content, err := io.ReadAll(io.LimitReader(r, size+1))
	if err == nil && int64(len(content)) != size {
		err = fmt.Errorf("not of the %d bytes that it tells", size)
	}
	if err != nil {
		return nil, fmt.Errorf("git object %s: %w", h, err)
	}
	found := new(plumbing.MemoryObject)
	found.SetType(t)
	_, err = found.Write(content)
	return found, err
}

func tooLarge(h plumbing.Hash) error {
	return fmt.Errorf("git object %s: %w: more than %d bytes", h, ErrTooLarge, maxObject)
}

// packed reads an object that is in a pack.
func (o *objects) packed(h plumbing.Hash) (plumbing.EncodedObject, error) {
	if o.packs == nil {
		if err := o.openPacks(); err != nil {
			return nil, err
		}
	}
	for _, p := range o.packs {
		if offset, err := p.index.FindOffset(h); err == nil {
			return o.inPack(p, h, offset)
		}
	}
	return nil, plumbing.ErrObjectNotFound
}

// openPacks reads the indexes of all packs.
func (o *objects) openPacks() error {
	o.packs = []pack{}
	entries, err := o.fs.w.readDir(o.fs.local("objects/pack"))
	if o.fs.w.absent(err) {
		return nil
	} else if err != nil {
		return err
	}
	for _, e := range entries {
		name, is := strings.CutSuffix(e.Name(), ".idx")
		if !is {
			continue
		}
		f, err := o.fs.Open(o.fs.Join("objects/pack", e.Name()))
		if err != nil {
			return err
		}
		p := pack{o.fs.Join("objects/pack", name+".pack"), idxfile.NewMemoryIndex()}
		err = idxfile.NewDecoder(f).Decode(p.index)
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("%s: %w", e.Name(), err)
		}
		o.packs = append(o.packs, p)
	}
	return nil
}

// inPack reads an object at an offset of a pack, once it and all that it is a
// delta of are known to be small enough.
func (o *objects) inPack(p pack, h plumbing.Hash, offset int64) (plumbing.EncodedObject, error) {
	f, err := o.fs.Open(p.name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	file := packfile.NewPackfileWithCache(p.index, o.fs, f, o.cache, maxDiff)
	for at, more := offset, true; more; {
		scanner := packfile.NewScanner(f)
		header, err := scanner.SeekObjectHeader(at)
		if err != nil {
			return nil, err
		}
		if header.Length > maxObject {
			return nil, tooLarge(h)
		}
		// Only here go-git holds an object to the size that it declares.
		if _, _, err := scanner.NextObject(io.Discard); err != nil {
			return nil, err
		}
		if size, err := file.GetSizeByOffset(at); err != nil { // of a delta, of its result
			return nil, err
		} else if size > maxObject {
			return nil, tooLarge(h)
		}
		switch header.Type {
		case plumbing.OFSDeltaObject:
			at = header.OffsetReference
		case plumbing.REFDeltaObject:
			if at, err = p.index.FindOffset(header.Reference); err != nil {
				return nil, err
			}
		default:
			more = false
		}
	}
	return file.GetByOffset(offset)
}
