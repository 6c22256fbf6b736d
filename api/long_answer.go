package api

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// A longAnswer is a JSON text with a list, made item by item. One that stays
// short is sent whole, with its length; a longer one in pieces.
type longAnswer struct {
	deps  *deps
	c     echo.Context
	piece int // bytes
	text  []byte
	begun bool // the list has an item
}

// next begins an item: text ends where it goes.
func (a *longAnswer) next() {
	if a.begun {
		a.text = append(a.text, ',')
	}
	a.begun = true
}

// send sends what there is, once it is a piece.
func (a *longAnswer) send() error {
	if len(a.text) < a.piece {
		return nil
	}
	w := a.c.Response()
	if !w.Committed {
		w.Header().Set("Content-Type", "application/json")
	}
	_, err := w.Write(a.text)
	a.text = a.text[:0]
	return err
}

// fail ends the answer for an error. It is returned, to be answered, unless a
// part was sent already: the connection is closed then, since an answer that is
// cut must not look whole.
func (a *longAnswer) fail(err error) error {
	if a.c.Response().Committed {
		panic(http.ErrAbortHandler)
	}
	return err
}

// end sends the rest, and tells which events were left out since they are
// damaged: in a header, or in a trailer when a part was sent already.
func (a *longAnswer) end(damaged []int64) error {
	w := a.c.Response()
	if !w.Committed {
		tellDamaged(a.deps, a.c, "events", damagedHeader, damaged)
		return writeBytes(a.c, http.StatusOK, a.text)
	}
	tellDamaged(a.deps, a.c, "events", http.TrailerPrefix+damagedHeader, damaged)
	_, err := w.Write(a.text)
	return err
}
