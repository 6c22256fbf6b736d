package server

import "time"

// WithBounds returns c with other times for a connection than the default ones.
func (c Config) WithBounds(header, body, answer, idle time.Duration) Config {
	c.bounds = bounds{header, body, answer, idle}
	return c
}
