package server

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/openhands-local/openhands-local/api"
)

// LenientCount is a handler of a server's records (Config.Log) that counts the
// answers which are more lenient than upstream's, for programs that end by
// telling how many there were.
type LenientCount struct {
	handler slog.Handler
	quiet   bool
	n       *atomic.Int64
}

// NewLenientCount hands records on to h; only warnings and errors when quiet,
// and then not those that it counts.
func NewLenientCount(h slog.Handler, quiet bool) *LenientCount {
	return &LenientCount{h, quiet, new(atomic.Int64)}
}

// lenientRecord is the message of the record that package api writes of such
// an answer.
const lenientRecord = "more lenient than OpenHands"

// Answers is how many there were.
func (l *LenientCount) Answers() int64 { return l.n.Load() }

// String says how many there were, as the beginning of a sentence.
func (l *LenientCount) String() string {
	n, was := l.Answers(), "answers were"
	if n == 1 {
		was = "answer was"
	}
	return fmt.Sprintf("%d %s more lenient than %s's", n, was, api.Recorded)
}

// Enabled wants warnings, since they are counted, and what is handed on.
func (l *LenientCount) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn || !l.quiet && l.handler.Enabled(ctx, level)
}

// Handle counts r, and hands it on.
func (l *LenientCount) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == lenientRecord {
		l.n.Add(1)
		if l.quiet {
			return nil
		}
	}
	if !l.handler.Enabled(ctx, r.Level) {
		return nil
	}
	return l.handler.Handle(ctx, r)
}

// WithAttrs and WithGroup count together with l.
func (l *LenientCount) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &LenientCount{l.handler.WithAttrs(attrs), l.quiet, l.n}
}

// WithGroup is as WithAttrs.
func (l *LenientCount) WithGroup(name string) slog.Handler {
	return &LenientCount{l.handler.WithGroup(name), l.quiet, l.n}
}
