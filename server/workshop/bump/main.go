// Command bump puts another version of the contract in the place of
// openapi.json, and tells on one page what that means.
//
//	go run ./server/workshop/bump [-dry] [-uses HAR] FILE-or-URL
//
// It runs from the root of the module, as `make bump` does. The document is
// checked and given the published form (package document). All the rest is
// done in a temporary copy of the module: generate, build, test. Only when
// everything passed are the files that came of it put in place, all together;
// with -dry they never are. So nothing is ever half replaced.
//
// It imports nothing that imports gen/, so that one which does not compile
// cannot stop it.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/openhands-local/openhands-local/api/contract"
	"github.com/openhands-local/openhands-local/api/contract/document"
	"github.com/openhands-local/openhands-local/api/printable"
	"github.com/openhands-local/openhands-local/server/workshop/overlay"
	"github.com/openhands-local/openhands-local/server/workshop/recorded"
)

// Files of the module, by their path below its root. All but the overlay are
// replaced.
const (
	publishedFile = "openapi.json"
	overlayFile   = "api/overlay.yaml"
	servedFile    = "gen/openapi.json"
	typesFile     = "gen/openapi.gen.go"
	namesFile     = "gen/names.overlay.yaml"
	versionFile   = "gen/version.gen.go"
	coverageFile  = "server/openhands-local/COVERAGE.md"
)

var replacedFiles = []string{publishedFile, servedFile, typesFile, namesFile, versionFile, coverageFile}

// leftOut are the tests that a bump does not run: those that bump, that build
// the module or the program again, that kill servers or spoil their files, that
// feed them random input, and one that waits for fifteen seconds. None depends
// on the contract's version, and they would take most of the time.
const leftOut = `^Test(Bump|Container|Crash|Extend|Fault|Release|StreamHeartbeat)|^Fuzz|^TestScripts$/^crash$`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dry := flag.Bool("dry", false, "leave everything as it is")
	uses := flag.String("uses", "", "requests of a client, as `HAR` 1.2: the page begins with what becomes of them")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "bump: name one document: make bump SPEC=FILE-or-URL [DRY=1] [USES=HAR]")
		os.Exit(2)
	}
	b := bump{root: ".", spec: flag.Arg(0), uses: *uses, dry: *dry, page: os.Stdout, progress: printable.Writer{W: os.Stderr}}
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(b.progress, "bump:", err)
		os.Exit(1)
	}
}

// A bump is one run.
type bump struct {
	root, spec     string
	uses           string // file of a client's requests; "" for none
	dry            bool
	noTests        bool
	copy           string // folder of the copy, which is removed; "" for a new one
	page, progress io.Writer
	started        time.Time
}

// errRefused is a bump that its page tells why it changed nothing.
var errRefused = errors.New("refused, and nothing was changed: the page begins with why")

func (b *bump) run(ctx context.Context) error {
	b.started = time.Now()
	published, err := b.document(publishedFile)
	if err != nil {
		return err
	}
	actions, err := overlay.Read(filepath.Join(b.root, overlayFile))
	if err != nil {
		return err
	}
	text, err := b.fetch(ctx)
	if err != nil {
		return err
	}
	doc, err := document.Parse(b.spec, text)
	if err != nil {
		return refused(err)
	}
	doc.Names = published.Names
	mends := doc.Mend()
	code, err := readCode(b.root)
	if err != nil {
		return err
	}
	here, err := b.implemented(code)
	if err != nil {
		return err
	}
	if err := cmp.Or(doc.Check(), doc.Another(here)); err != nil {
		return refused(err)
	}
	if _, err := b.countUses(); err != nil {
		return err
	}
	then, err := b.document(recorded.Document)
	if err != nil {
		return err
	}
	r := result{from: published.Version(), to: doc.Version(), spec: b.spec, dry: b.dry, handlers: code.handlers}
	r.served, r.mends = publish(doc, overlay.Unpublished(actions), published, then)
	r.mends = append(mends, r.mends...)
	next, err := doc.JSON()
	if err != nil {
		return err
	}
	now, err := os.ReadFile(filepath.Join(b.root, publishedFile))
	if err != nil {
		return err
	}
	if string(now) == string(next) {
		fmt.Fprintf(b.page, "%s is %s already (%s). There is nothing to do.\n", publishedFile, r.to, r.form())
		return nil
	}

	b.say("copying the module")
	dir := b.copy
	if dir == "" {
		if dir, err = os.MkdirTemp("", "openhands-local-bump-"); err != nil {
			return err
		}
	}
	defer os.RemoveAll(dir)
	if err := copyModule(ctx, b.root, dir); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, publishedFile), next, 0o644); err != nil {
		return err
	}
	t := try{bump: b, dir: dir, result: &r}
	if err := t.run(ctx, published, doc, actions, code); err != nil {
		return err
	}
	if r.ok() && !b.dry {
		if r.replaced, err = putInPlace(dir, b.root, replacedFiles); err != nil {
			return err
		}
	}
	if err := r.write(b.page); err != nil {
		return err
	}
	if !r.ok() {
		return errRefused
	}
	return nil
}

// refused says of a document that it is no version of the contract.
func refused(err error) error {
	return fmt.Errorf("the document is refused, and nothing was changed:\n%w", err)
}

// implemented are the operations of the contract's version that have a
// handler.
func (b *bump) implemented(code *code) ([]string, error) {
	served, err := b.document(servedFile)
	if err != nil {
		return nil, err
	}
	var all []string
	for op := range served.Operations() {
		if code.handlers[op.GoName] != "" && !op.Later() {
			all = append(all, op.String())
		}
	}
	return all, nil
}

// countUses counts the requests of the client by operation of the contracts,
// of which the first that matches counts. Without contracts it tells whether
// they can be read.
func (b *bump) countUses(contracts ...*contract.Contract) (map[string]int, error) {
	if b.uses == "" {
		return nil, nil
	}
	har, err := os.ReadFile(b.uses)
	if err != nil {
		return nil, err
	}
	uses, err := document.Uses(har, func(method, path string) string {
		for _, one := range contracts {
			if op, _ := one.Match(method, path); op != nil {
				return op.Method + " " + op.Path
			}
		}
		return ""
	})
	if err != nil {
		return nil, fmt.Errorf("%s %w", b.uses, err)
	}
	return uses, nil
}

// say tells what is begun or done, and after how many seconds.
func (b *bump) say(format string, args ...any) {
	fmt.Fprintf(b.progress, "bump: %3.0f s: %s\n", time.Since(b.started).Seconds(), fmt.Sprintf(format, args...))
}

// document reads one of the module's own, whose operations have the names
// that they have now.
func (b *bump) document(name string) (*document.Document, error) {
	text, err := os.ReadFile(filepath.Join(b.root, name))
	if err != nil {
		return nil, err
	}
	d, err := document.Parse(name, text)
	if err != nil {
		return nil, err
	}
	d.Names, err = overlay.Names(filepath.Join(b.root, namesFile))
	return d, err
}

// fetch reads the document. An address is asked once, for half a minute.
func (b *bump) fetch(ctx context.Context) ([]byte, error) {
	if !strings.HasPrefix(b.spec, "http://") && !strings.HasPrefix(b.spec, "https://") {
		return os.ReadFile(b.spec)
	}
	b.say("asking %s", b.spec)
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.spec, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", b.spec, answer.Status)
	}
	return io.ReadAll(io.LimitReader(answer.Body, document.MaxSize+1))
}
