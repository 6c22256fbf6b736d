package workspace

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-git/v5/plumbing"
)

// deltaOfItself returns a pack, and its index, with one object: a delta whose
// base is the object itself.
func deltaOfItself(t *testing.T, name plumbing.Hash) (pack, idx string) {
	t.Helper()
	var delta bytes.Buffer
	z := zlib.NewWriter(&delta)
	z.Write([]byte{1, 1, 1, 'x'}) // base of 1 byte, result of 1 byte, insert x
	z.Close()
	// A delta of a named object, 4 bytes long.
	return packOf(name, append(append([]byte{7<<4 | 4}, name[:]...), delta.Bytes()...))
}

// packOf makes a pack of one object called name, and its index. The entry is the
// object as it lies in the pack.
func packOf(name plumbing.Hash, entry []byte) (pack, idx string) {
	pack = sum(append([]byte("PACK\x00\x00\x00\x02\x00\x00\x00\x01"), entry...))
	i := []byte("\xfftOc\x00\x00\x00\x02")
	for first := range 256 { // how many names begin with up to this byte
		n := uint32(0)
		if first >= int(name[0]) {
			n = 1
		}
		i = binary.BigEndian.AppendUint32(i, n)
	}
	i = append(i, name[:]...)
	i = append(i, 0, 0, 0, 0, 0, 0, 0, 12) // checksum, offset
	i = append(i, pack[len(pack)-20:]...)
	return pack, sum(i)
}

// TestGitFS has what go-git must not do.
func TestGitFS(t *testing.T) {
	w, dir := open(t)
	put(t, dir, map[string]string{".git/HEAD": "x", "secret": "s", ".git/objects/info/alternates": "/"})
	g := &gitFS{w: w, ctx: t.Context(), dir: ".git", reads: new(int)}
	f, err := g.Open("HEAD")
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	defer f.Close()
	_, written := f.Write([]byte("y"))
	_, writtenAt := f.(*gitFile).WriteAt([]byte("y"), 0)
	_, created := g.Create("new")
	_, temp := g.TempFile("", "new")
	_, opened := g.OpenFile("HEAD", os.O_RDWR, 0)
	for what, err := range map[string]error{
		"Write": written, "WriteAt": writtenAt, "Truncate": f.Truncate(0), "Create": created, "TempFile": temp, "OpenFile": opened,
		"Rename": g.Rename("HEAD", "x"), "Remove": g.Remove("HEAD"), "MkdirAll": g.MkdirAll("x", 0o755), "Symlink": g.Symlink("HEAD", "x"),
	} {
		if !errors.Is(err, billy.ErrReadOnly) {
			t.Errorf("%s = %v, want %v", what, err, billy.ErrReadOnly)
		}
	}
	for _, name := range []string{"../secret", "/../secret", "/secret", "objects/info/alternates"} {
		if _, err := g.OpenFile(name, os.O_RDONLY, 0); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("OpenFile(%q) = %v, want %v", name, err, fs.ErrNotExist)
		}
	}
	sub, err := g.Chroot("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sub.Stat("HEAD"); err != nil {
		t.Errorf("Stat below Chroot(../..) = %v, want the same folder", err)
	}
}
