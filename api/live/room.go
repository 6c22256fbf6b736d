package live

import (
	"context"
	"errors"
	"sync"

	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/live/socketio"
	"github.com/openhands-local/openhands-local/store"
)

// A room is the sockets of one conversation, and the one goroutine that
// follows it for them. It lives from its first member to its last, or to the
// end of the conversation's run.
type room struct {
	id     string
	store  store.Store
	cancel context.CancelFunc // of the follower

	mu sync.Mutex
	at int64 // the last event that the members were sent, or were not to be
	// members by the last event that each had when it came.
	members map[*socketio.Socket]int64
}

// attach makes a socket that has the events up to at a member of its room. If
// the room is further it does not, and returns the id that the room is at.
func (s *Server) attach(socket *socketio.Socket, id string, at int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rooms[id]
	if r == nil {
		r = &room{id: id, store: s.c.Store, at: at, members: map[*socketio.Socket]int64{}}
		var ctx context.Context
		ctx, r.cancel = context.WithCancel(s.ctx)
		s.rooms[id] = r
		s.followers.Go(func() { s.follow(ctx, r, at) })
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at > at {
		return r.at
	}
	r.members[socket] = at
	context.AfterFunc(socket.Context(), func() { s.leave(r, socket) })
	return at
}

// leave ends a membership, and the room with the last one.
func (s *Server) leave(r *room, socket *socketio.Socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if delete(r.members, socket); len(r.members) == 0 {
		s.remove(r)
	}
}

// remove takes a room out. s.mu is locked.
func (s *Server) remove(r *room) {
	r.cancel()
	if s.rooms[r.id] == r {
		delete(s.rooms, r.id)
	}
}

// follow sends the members what is stored after an id.
func (s *Server) follow(ctx context.Context, r *room, after int64) {
	for e, err := range store.Follow(ctx, s.c.Store, r.id, after) {
		switch {
		case ctx.Err() != nil || errors.Is(err, store.ErrClosed):
			return // 41 would keep clients from coming back
		case s.leftOut(r.id, err):
			continue
		case err != nil:
			if !errors.Is(err, store.ErrNotFound) {
				s.c.Log.Error("socket: cannot follow", "conversation", r.id, "error", err.Error())
			}
			s.end(r)
			return
		}
		r.mu.Lock()
		r.send(e)
		r.mu.Unlock()
	}
}

// send sends an event to the members that do not have it. r.mu is locked.
func (r *room) send(e store.Event) {
	if e.ID <= r.at {
		return
	}
	r.at = e.ID
	f, sent := live(e)
	if !sent {
		return
	}
	for socket, had := range r.members {
		if e.ID > had {
			socket.Send(f)
		}
	}
}

// catchUp sends what is stored already, so that what comes next comes after
// it. r.mu is locked.
func (r *room) catchUp() {
	for e, err := range store.Scan(context.Background(), r.store, r.id, store.Range{From: r.at + 1, To: store.MaxID}) {
		if err == nil { // a damaged one is told of by follow
			r.send(e)
		}
	}
}

// hear sends the members what is no event, and puts them out when their
// conversation ends.
func (s *Server) hear(n conversation.Notice) {
	s.mu.Lock()
	r := s.rooms[n.Conversation]
	s.mu.Unlock()
	if r == nil {
		return
	}
	switch n.Kind {
	case conversation.Update:
		r.mu.Lock()
		defer r.mu.Unlock()
		r.catchUp()
		f := frame(n.Update)
		for socket := range r.members {
			socket.Send(f)
		}
	case conversation.Ended:
		s.end(r)
	}
}

// end puts all members out: 41, and they do not come back by themselves.
func (s *Server) end(r *room) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(r)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.catchUp()
	for socket := range r.members {
		socket.Disconnect()
	}
	clear(r.members)
}
