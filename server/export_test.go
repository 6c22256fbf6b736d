package server

import "time"

// WithBounds returns c with other times for a connection than the default ones.
func (c Config) WithBounds(header, body, answer, idle time.Duration) Config {
	c.bounds = bounds{header, body, answer, idle, defaultBounds.settle}
	return c
}

// WithSettle returns c with another time for work to come to rest.
func (c Config) WithSettle(d time.Duration) Config {
	c.bounds = defaultBounds
	c.bounds.settle = d
	return c
}
