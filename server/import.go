package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/openhands-local/openhands-local/api"
	"github.com/openhands-local/openhands-local/api/archive"
	"github.com/openhands-local/openhands-local/store"
)

// Import calls do, which imports, with the store of the data folder of c. The
// folder is made as by New when it is missing, and is gone again if do fails
// and has stored nothing. No server may have it open.
func Import(ctx context.Context, c Config, do func(store.Store) error) error {
	if err := c.checkData(); err != nil {
		return ConfigError{err}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	var missing []string
	if InFolder(c.Data) {
		missing = missingFrom(c.Data)
	}
	st, _, err := openData(ctx, c.Data, c.Key, c.Log, newMetrics(c.Version))
	if err != nil {
		return err
	}
	was := isNew(ctx, st)
	err = do(st)
	switch {
	case was && err == nil:
		err = c.firstSettings(ctx, st)
	case was && isNew(context.WithoutCancel(ctx), st):
		for _, name := range missing { // before another process can open it: the lock is still ours
			_ = os.Remove(name) // no folder that has something in it; Windows keeps what is open
		}
	}
	return errors.Join(err, st.Close())
}

// missingFrom lists what is not there of a data folder, the innermost first.
func missingFrom(data string) (missing []string) {
	names := []string{filepath.Join(data, eventsFile), filepath.Join(data, ".gitignore")}
	for dir := filepath.Clean(data); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		names = append(names, dir)
	}
	return slices.DeleteFunc(names, func(name string) bool {
		_, err := os.Lstat(name)
		return !errors.Is(err, fs.ErrNotExist)
	})
}

// importTo stores what Config.Import names.
func (c Config) importTo(ctx context.Context, st store.Store, log *slog.Logger) error {
	sum, err := archive.Import(ctx, st, c.Import, archive.ImportOptions{
		Settings: api.SettingsRecord,
		Existing: archive.Skip,
		LeftOut: func(what string, why error) {
			log.Warn("not imported", "what", what, "why", why)
		},
	})
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	log.Info("imported", "path", c.Import, "conversations", sum.Conversations, "events", sum.Events, "existing", sum.Existing, "left_out", sum.LeftOut)
	return nil
}
