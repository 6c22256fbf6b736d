package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/openhands-local/openhands-local/api/archive"
	"github.com/openhands-local/openhands-local/store"
)

// Import calls do, which imports, with the store of the data folder of c. The
// folder is made as by New when it is missing, and no server may have it open.
func Import(ctx context.Context, c Config, do func(store.Store) error) error {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{c: c}
	var err error
	if s.store, _, err = openData(ctx, c.Data, c.Key, c.Log, newMetrics(c.Version)); err != nil {
		return err
	}
	isNew := isNew(ctx, s.store)
	err = do(s.store)
	if isNew && err == nil {
		err = s.firstSettings(ctx)
	}
	return errors.Join(err, s.store.Close())
}

// importFrom begins with what Config.Import names.
func (s *Server) importFrom(ctx context.Context, path string) error {
	sum, err := archive.Import(ctx, s.store, path, archive.ImportOptions{
		Existing: archive.Skip,
		LeftOut: func(what string, why error) {
			s.c.Log.Warn("not imported", "what", what, "why", why)
		},
	})
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	s.c.Log.Info("imported", "path", path, "conversations", sum.Conversations, "events", sum.Events, "existing", sum.Existing, "left_out", sum.LeftOut)
	return nil
}
