package page

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"
)

// A World is one of a server's that have a name.
type World struct {
	Name          string
	URL           string
	Made          time.Time
	Used          time.Time // when the last request came
	Conversations int
	Requests      int64
}

// Worlds are those of a server.
type Worlds struct {
	Most   int // that there may be, 0 for none
	List   func(context.Context) ([]World, error)
	Make   func(name string) error
	Delete func(name string) error
}

// worldAddress is where a browser finds the page of a world: by a host of its own, at
// the port of this server. "" is the world without a name.
func worldAddress(r *http.Request, name string) string {
	host := "localhost"
	if name != "" {
		host = name + ".localhost"
	}
	if _, port, err := net.SplitHostPort(r.Host); err == nil {
		host = net.JoinHostPort(host, port)
	}
	return "http://" + host + Home
}

func (p *Page) worlds(w http.ResponseWriter, r *http.Request) error {
	return p.showWorlds(w, r, http.StatusOK, "", "")
}

// showWorlds shows all, and what is wrong with a name that somebody wrote.
func (p *Page) showWorlds(w http.ResponseWriter, r *http.Request, status int, written, wrong string) error {
	if p.Worlds.Most == 0 {
		return &failure{http.StatusConflict, "Worlds are off. Start openhands-local with --max-worlds 256 to have that many."}
	}
	all, err := p.Worlds.List(r.Context())
	if err != nil {
		return err
	}
	type place struct {
		World
		Address string
	}
	v := struct {
		Here, Main     string
		Most           int
		All            []place
		Written, Wrong string
	}{p.World, worldAddress(r, ""), p.Worlds.Most, nil, written, wrong}
	for _, each := range all {
		v.All = append(v.All, place{each, worldAddress(r, each.Name)})
	}
	return p.show(w, status, "worlds", view{Title: "Worlds", Section: "worlds", Content: v})
}

// makeWorld makes one. It leads to the list: a form of one world may not lead to
// another.
func (p *Page) makeWorld(w http.ResponseWriter, r *http.Request) error {
	name := r.PostFormValue("name")
	if err := p.Worlds.Make(name); err != nil {
		return p.showWorlds(w, r, http.StatusUnprocessableEntity, name, err.Error())
	}
	return seeOther(w, r, Prefix+"worlds")
}

func (p *Page) askDeleteWorld(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	return p.show(w, http.StatusOK, "question", view{Title: "Delete", Section: "worlds", Content: question{
		Text:   fmt.Sprintf("Delete the world %s, with all that is in it?", name),
		Action: Prefix + "worlds/" + name + "/delete", Yes: "Delete", Back: Prefix + "worlds",
	}})
}

func (p *Page) deleteWorld(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if name == p.World {
		return &failure{http.StatusConflict, "This page is of that world. Delete it on the page of another one."}
	}
	if err := p.Worlds.Delete(name); err != nil {
		return err
	}
	return seeOther(w, r, Prefix+"worlds")
}
