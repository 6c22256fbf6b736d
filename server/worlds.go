package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openhands-local/openhands-local/api"
	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/key"
	"github.com/openhands-local/openhands-local/api/pyjson"
	"github.com/openhands-local/openhands-local/server/faults"
	"github.com/openhands-local/openhands-local/server/journal"
	"github.com/openhands-local/openhands-local/server/page"
	"github.com/openhands-local/openhands-local/store"
)

// A request names its world by one of three:
//
//	X-Local-World: NAME
//	Host: NAME.localhost            browsers and curl find it without a name server, few other programs do
//	/_local/worlds/NAME/…           a base URL for all the rest; no world sees what is before the last slash
//
// It is made by the first request that names it, as a server is with the same
// Config but with Data in memory, and stays until it is deleted or the server
// ends. /_local/worlds itself is of no world.
const (
	worldHeader = "X-Local-World"
	worldHost   = ".localhost"
)

// DefaultMaxWorlds is the most worlds of a server unless its program says another
// number.
const DefaultMaxWorlds = 256

// worldName is a label of a host name in lower case.
var worldName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

var errWorldName = fastapi.ValueError("want 1 to 63 of a to z, 0 to 9 and -, and no - at first")

// worlds are those of a server that have a name. What changes is looked at and
// changed under mu.
type worlds struct {
	mu     sync.Mutex
	named  map[string]*world
	closed bool
	used   map[string]bool  // names of the faults that worlds used which are gone
	past   []*journal.Entry // what those were asked, with Config.KeepJournals
}

// visits counts what a named world does. active, idle and the making of the world
// belong to worlds.mu.
type visits struct {
	name   string
	made   time.Time
	last   atomic.Int64 // Unix time in nanoseconds
	total  atomic.Int64
	active int           // requests under way
	idle   chan struct{} // closed when there are none; nil while nobody waits
	ready  chan struct{} // closed when the world can be used, or err is set
	err    error
}

// SplitWorld splits a decoded path that begins with the base of a world:
// "/_local/worlds/a/alive" is "a" and "/alive".
func SplitWorld(path string) (name, rest string, ok bool) {
	below, ok := strings.CutPrefix(path, exchange.WorldsPath+"/")
	name, rest, isBase := strings.Cut(below, "/")
	if !ok || !isBase {
		return "", path, false
	}
	return name, "/" + rest, true
}

// nameIn returns the name that a request has for its world, "" for none.
func (s *Server) nameIn(r *http.Request) (name string, err *fastapi.Invalid) {
	if s.c.MaxWorlds > 0 {
		host, _, _ := strings.Cut(r.Host, ":")
		host = strings.TrimSuffix(host, ".")
		if end := len(host) - len(worldHost); end > 0 && strings.EqualFold(host[end:], worldHost) && !strings.Contains(host[:end], ".") {
			if name = strings.ToLower(host[:end]); !worldName.MatchString(name) {
				return "", errWorldName.Refuse(pyjson.StringOf(name), "header", "host")
			}
		}
	}
	named := func(as string, loc ...any) *fastapi.Invalid {
		if !worldName.MatchString(as) {
			return errWorldName.Refuse(pyjson.StringOf(as), loc...)
		}
		if name != "" && name != as {
			return fastapi.ValueError(fmt.Sprintf("this request is also for the world %s", name)).Refuse(pyjson.StringOf(as), loc...)
		}
		name = as
		return nil
	}
	if !r.URL.IsAbs() {
		if as, _, ok := SplitWorld(r.URL.Path); ok {
			if err := named(as, "path", "name"); err != nil {
				return "", err
			}
		}
	}
	for _, as := range r.Header[worldHeader] {
		if err := named(as, "header", "x-local-world"); err != nil {
			return "", err
		}
	}
	return name, nil
}

// enter returns the world of a request, which it must leave, and who answers in
// it: the world, or a refusal. It takes the base of the world off the path.
func (s *Server) enter(x *exchange.Exchange, r *http.Request) (*world, http.Handler) {
	name, invalid := s.nameIn(r)
	if name == "" && invalid == nil {
		return s.world, s.world
	}
	refused := func(h http.HandlerFunc) (*world, http.Handler) { return s.world, s.world.wrap(h) }
	if invalid != nil {
		return refused(func(w http.ResponseWriter, r *http.Request) {
			exchange.From(r.Context()).Refusal = &exchange.Refusal{Msg: invalid.Error()}
			_ = writeJSON(w, http.StatusUnprocessableEntity, invalid)
		})
	}
	if _, rest, ok := SplitWorld(r.URL.Path); ok {
		inside := *r.URL
		inside.Path, inside.RawPath = rest, ""
		r.URL = &inside
		x.Path, x.Base = strings.ToValidUTF8(rest, "\uFFFD"), exchange.BaseOf(name)
	}
	if r.URL.Path == exchange.WorldsPath || strings.HasPrefix(r.URL.Path, exchange.WorldsPath+"/") {
		return s.world, s.world
	}
	d, err := s.visit(name, func() error { return s.mayMake(r) })
	var no *noWorld
	switch {
	case errors.As(err, &no):
		return refused(func(w http.ResponseWriter, r *http.Request) { refuse(w, r, no.status, no.text) })
	case err != nil:
		return refused(func(w http.ResponseWriter, r *http.Request) {
			refuse(w, r, http.StatusInternalServerError, "The world "+name+" cannot be made: "+err.Error())
			exchange.From(r.Context()).Refusal.Err = err
		})
	case d == nil:
		return s.world, s.world // which refuses it, or answers a preflight
	}
	x.World = name
	d.total.Add(1)
	d.last.Store(x.Start.UnixNano())
	return d, d
}

// noWorld is why there is no world for a request.
type noWorld struct {
	status int
	text   string
}

func (n *noWorld) Error() string { return n.text }

// errElsewhere: the request is answered without a world.
var errElsewhere = errors.New("answered without a world")

// mayMake tells why a request may not make a world: who may not read or write
// anything, or is a page of another site, leaves no trace, and a connection of a
// socket ends with its world.
func (s *Server) mayMake(r *http.Request) error {
	k, query := key.Key(s.c.Key), r.URL.Query()
	switch {
	case isPreflight(r), s.c.Access.Check(r) != nil, isSocket(r) && query.Has("sid"):
		return errElsewhere
	case r.Header.Get("Sec-Fetch-Site") == "cross-site" && r.Header.Get("Origin") == "":
		return &noWorld{http.StatusForbidden, "A page of another site cannot make a world by a link or an image."}
	case k.Is(r.Header.Get("X-Session-API-Key")), k.Is(query.Get("session_api_key")), s.login.has(r), r.URL.Path == loginPath && k.Is(query.Get("key")):
		return nil
	}
	return &noWorld{http.StatusUnauthorized, "This world is not there yet. A request with the key makes it."}
}

// visit returns a world, nil when may returns errElsewhere, and counts a request in
// it. It makes the world if may returns nil.
func (s *Server) visit(name string, may func() error) (*world, error) {
	s.worlds.mu.Lock()
	d := s.worlds.named[name]
	made := d == nil
	if made {
		if err := s.room(may); err != nil {
			s.worlds.mu.Unlock()
			if errors.Is(err, errElsewhere) {
				return nil, nil
			}
			return nil, err
		}
		d = &world{s: s, visits: visits{name: name, made: time.Now(), ready: make(chan struct{})}, stopping: make(chan struct{})}
		d.last.Store(d.made.UnixNano())
		if s.worlds.named == nil {
			s.worlds.named = map[string]*world{}
		}
		s.worlds.named[name] = d
	}
	d.active++
	s.worlds.mu.Unlock()
	if made {
		d.build()
	}
	<-d.ready
	if d.err != nil {
		d.leave()
		return nil, d.err
	}
	return d, nil
}

// room tells why no world can be made now.
func (s *Server) room(may func() error) error {
	if err := may(); err != nil {
		return err
	}
	switch most := s.c.MaxWorlds; {
	case s.worlds.closed:
		return &noWorld{http.StatusServiceUnavailable, "The server is stopping."}
	case most == 0:
		return &noWorld{http.StatusConflict, fmt.Sprintf("Worlds are off. Start openhands-local with --max-worlds %d to have that many.", DefaultMaxWorlds)}
	case len(s.worlds.named) >= most:
		return &noWorld{http.StatusConflict, fmt.Sprintf("There are %d worlds, and no more are allowed. Delete one (DELETE %s/NAME), or start openhands-local with --max-worlds %d.", most, exchange.WorldsPath, 2*most)}
	}
	return nil
}

// build makes what is in the map already.
func (d *world) build() {
	if d.err = d.open(context.Background(), Memory); d.err != nil {
		d.err = errors.Join(d.err, d.close())
		d.s.worlds.mu.Lock()
		if d.s.worlds.named[d.name] == d {
			delete(d.s.worlds.named, d.name)
		}
		d.s.worlds.mu.Unlock()
	}
	close(d.ready)
}

// leave ends what enter or visit began.
func (d *world) leave() {
	if d.name == "" {
		return
	}
	d.s.worlds.mu.Lock()
	defer d.s.worlds.mu.Unlock()
	if d.active--; d.active == 0 && d.idle != nil {
		close(d.idle)
		d.idle = nil
	}
}

// A World is one of a server's, for programs that run it.
type World struct{ d *world }

// World returns the world of a name, "" for the one without, and makes it if there
// is none.
func (s *Server) World(name string) (World, error) {
	if name == "" {
		return World{s.world}, nil
	}
	if !worldName.MatchString(name) {
		return World{}, fmt.Errorf("world %q: %s", name, errWorldName.Msg)
	}
	d, err := s.visit(name, func() error { return nil })
	if err == nil {
		d.leave()
	}
	return World{d}, err
}

// Info tells where the world is and what it keeps.
func (w World) Info() Info { return w.d.info }

// Faults are what goes wrong on purpose.
func (w World) Faults() *faults.Set { return w.d.faults }

// Clock is what its times are told and waited for by.
func (w World) Clock() *clock.Clock { return w.d.clock }

// Journal is what was asked and answered last, nil without Config.Journal. It can
// be read after Run has returned, too.
func (w World) Journal() *journal.Journal { return w.d.journal }

// all are the worlds that there are: first the one without a name, then the others
// by theirs.
func (s *Server) all() []*world {
	s.worlds.mu.Lock()
	all := []*world{s.world}
	for _, name := range slices.Sorted(maps.Keys(s.worlds.named)) {
		all = append(all, s.worlds.named[name])
	}
	s.worlds.mu.Unlock()
	return slices.DeleteFunc(all, func(d *world) bool {
		if d.ready != nil {
			<-d.ready
		}
		return d.err != nil
	})
}

// sum adds up what all worlds have.
func (s *Server) sum(of func(*world) int) (n int) {
	for _, d := range s.all() {
		n += of(d)
	}
	return n
}

// DeleteWorld ends a world: its runs end, its sockets are put out, streams and
// waits end, and requests under way get ten seconds, as of a server that stops.
// Who names it from now on makes another. Where there is none, nothing is done.
func (s *Server) DeleteWorld(name string) error {
	s.worlds.mu.Lock()
	d := s.worlds.named[name]
	if s.worlds.closed {
		d = nil // the server ends it
	} else {
		delete(s.worlds.named, name)
	}
	s.worlds.mu.Unlock()
	if d == nil {
		return nil
	}
	if <-d.ready; d.err != nil {
		return nil
	}
	return d.end()
}

// partingTime is how long clients of sockets may take to go that were told to.
const partingTime = 250 * time.Millisecond

// end ends a world that nobody can enter any more.
func (d *world) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	close(d.stopping)
	// Without 41 clients would come back, and make the world again.
	err := d.empty(ctx, func(context.Context) error { return nil })
	for until := time.Now().Add(partingTime); d.live.Sessions() > 0 && time.Now().Before(until); {
		time.Sleep(5 * time.Millisecond)
	}
	err = errors.Join(err, d.live.Shutdown(ctx))

	worlds := &d.s.worlds
	worlds.mu.Lock()
	var idle chan struct{}
	if d.active > 0 {
		idle = make(chan struct{})
		d.idle = idle
	}
	for _, r := range d.faults.List() {
		if r.Used > 0 {
			if worlds.used == nil {
				worlds.used = map[string]bool{}
			}
			worlds.used[r.Name] = true
		}
	}
	worlds.mu.Unlock()
	if idle != nil {
		select {
		case <-idle:
		case <-ctx.Done():
			err = errors.Join(err, ctx.Err())
		}
	}
	if d.s.c.KeepJournals && d.journal != nil {
		worlds.mu.Lock()
		worlds.past = append(worlds.past, d.journal.Page(journal.Query{}).Entries...)
		worlds.past = slices.Clone(worlds.past[max(0, len(worlds.past)-d.s.c.Journal):])
		worlds.mu.Unlock()
	}
	return errors.Join(err, d.close())
}

// UnusedFaults are the names of the rules of Config.Faults that were used in no
// world.
func (s *Server) UnusedFaults() []string {
	names := s.world.faults.Unused()
	for _, d := range s.all()[1:] {
		unused := d.faults.Unused()
		names = slices.DeleteFunc(names, func(name string) bool { return !slices.Contains(unused, name) })
	}
	s.worlds.mu.Lock()
	defer s.worlds.mu.Unlock()
	return slices.DeleteFunc(names, func(name string) bool { return s.worlds.used[name] })
}

// stop stops all worlds, and makes no more.
func (s *Server) stop(ctx context.Context) error {
	s.worlds.mu.Lock()
	s.worlds.closed = true
	s.worlds.mu.Unlock()
	all := s.all()
	failed := make(chan error, len(all))
	for _, d := range all {
		go func() { failed <- d.stop(ctx) }()
	}
	var errs []error
	for range all {
		errs = append(errs, <-failed)
	}
	return errors.Join(errs...)
}

// A WorldInfo is what /_local/worlds tells of a world.
type WorldInfo struct {
	Name          string    `json:"name"`
	URL           string    `json:"url"`
	Made          time.Time `json:"made"`
	Used          time.Time `json:"used"` // when the last request came
	Conversations int       `json:"conversations"`
	Requests      int64     `json:"requests"`
}

// Worlds tells of those that have a name, in the order of their names.
func (s *Server) Worlds(ctx context.Context) ([]WorldInfo, error) {
	infos := []WorldInfo{}
	for _, d := range s.all()[1:] {
		_, n, err := d.store.Conversations(ctx, 0, 0)
		if errors.Is(err, store.ErrClosed) {
			continue // deleted since
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, WorldInfo{d.name, d.info.URL, d.made, time.Unix(0, d.last.Load()), n, d.total.Load()})
	}
	return infos, nil
}

// worldPages are:
//
//	GET    /_local/worlds           all worlds that have a name
//	DELETE /_local/worlds           delete all
//	DELETE /_local/worlds/{name}    delete one
func (s *Server) worldPages() map[string]api.Handler {
	return map[string]api.Handler{
		"GET /worlds": func(w http.ResponseWriter, r *http.Request) error {
			infos, err := s.Worlds(r.Context())
			if err != nil {
				return err
			}
			return writeJSON(w, http.StatusOK, map[string]any{"worlds": infos, "max": s.c.MaxWorlds})
		},
		"DELETE /worlds": func(w http.ResponseWriter, r *http.Request) error {
			var ending sync.WaitGroup
			for _, d := range s.all()[1:] {
				ending.Go(func() { s.tellEnd(d.name, s.DeleteWorld(d.name)) })
			}
			ending.Wait()
			w.WriteHeader(http.StatusNoContent)
			return nil
		},
		"DELETE /worlds/:name": func(w http.ResponseWriter, r *http.Request) error {
			name := strings.TrimPrefix(r.URL.Path, exchange.WorldsPath+"/")
			if !worldName.MatchString(name) {
				return errWorldName.Refuse(pyjson.StringOf(name), "path", "name")
			}
			s.tellEnd(name, s.DeleteWorld(name))
			w.WriteHeader(http.StatusNoContent)
			return nil
		},
	}
}

// worldsPage is what the page shows of worlds, and does with them.
func (s *Server) worldsPage() page.Worlds {
	return page.Worlds{
		Most: s.c.MaxWorlds,
		List: func(ctx context.Context) (all []page.World, err error) {
			infos, err := s.Worlds(ctx)
			for _, i := range infos {
				all = append(all, page.World(i))
			}
			return all, err
		},
		Make: func(name string) error {
			if name == "" {
				return errors.New(errWorldName.Msg)
			}
			_, err := s.World(name)
			return err
		},
		Delete: s.DeleteWorld,
	}
}

// tellEnd writes a record of a world that did not end cleanly. It is gone even so.
func (s *Server) tellEnd(name string, err error) {
	if err != nil {
		s.c.Log.Warn("a world did not end cleanly", "world", name, "error", err)
	}
}

// entries are those of all journals, in the order in which they began.
func (s *Server) entries() []*journal.Entry {
	all := s.all()
	s.worlds.mu.Lock()
	entries := slices.Clone(s.worlds.past)
	s.worlds.mu.Unlock()
	for _, d := range all {
		entries = append(entries, d.journal.Page(journal.Query{}).Entries...)
	}
	slices.SortStableFunc(entries, func(a, b *journal.Entry) int { return a.Start.Compare(b.Start) })
	return entries
}
