package boltstore

import (
	"context"

	bolt "go.etcd.io/bbolt"
)

// Record implements [store.Store].
func (s *Store) Record(ctx context.Context, name string) ([]byte, error) {
	return s.record(ctx, "record", name)
}

func (s *Store) record(ctx context.Context, op, name string) (value []byte, err error) {
	err = s.view(ctx, op, name, func(tx *bolt.Tx) error {
		record := tx.Bucket(recordsBucket).Get([]byte(name))
		if record == nil {
			return nil
		}
		_, content, err := unseal(record)
		if err == nil {
			value = append([]byte{}, content...)
		}
		return err
	})
	return value, err
}

// UpdateRecord implements [store.Store].
func (s *Store) UpdateRecord(ctx context.Context, name string, change func(old []byte) ([]byte, error)) error {
	const op = "update record"
	if err := s.lock(ctx); err != nil {
		return wrap(op, name, err)
	}
	defer s.unlock()
	// As in Update, change runs in no transaction.
	old, err := s.record(ctx, op, name)
	if err != nil {
		return err
	}
	value, err := change(old)
	if err != nil {
		return err
	}
	return wrap(op, name, s.update(func(tx *bolt.Tx) error {
		if value == nil {
			return tx.Bucket(recordsBucket).Delete([]byte(name))
		}
		return tx.Bucket(recordsBucket).Put([]byte(name), seal(0, value))
	}))
}
