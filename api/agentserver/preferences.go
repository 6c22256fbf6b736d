package agentserver

import "net/http"

// preferences are the handlers of settings and profiles, as far as clients read
// them.
func (s *server) preferences() map[string]handler {
	fixed := func(body string) handler {
		return func(c *call) error { return write(c.w, c.r, http.StatusOK, []byte(body)) }
	}
	return map[string]handler{
		"ListProfiles":     fixed(`{"profiles":[],"active_profile":null}`),
		"ListMetaProfiles": fixed(`{"meta_profiles":[],"active_meta_profile":null}`),
		"ListSecrets":      fixed(`{"secrets":[]}`),
	}
}
