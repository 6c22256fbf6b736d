package conform

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// ground is what recorded cases stand on, and a server that the run did not start may lack.
type ground struct {
	refuses string   // what the server lacks, for it makes no conversations; "" if it makes them, or no case needs one
	orphans []string // ids of folders without a conversation, left by an earlier run that was allowed harm
	hung    string   // the request that hung it, as it did the recorded one; "" as long as it answers
	// settings and status are the answer to GET /api/settings before the run stored its own; no status, if it stores none.
	settings value
	status   int
}

// lacking are the refusals of a server that makes no conversations: the case's own mistake they are not
// [create_without_settings, create_settings_without_key].
var lacking = map[string]string{
	"CONFIGURATION$SETTINGS_NOT_FOUND": "settings",
	"STATUS$ERROR_LLM_AUTHENTICATION":  "a key for a model in its settings",
}

// look asks the server for what the chosen cases stand on, before any of them is sent, and tells what a user should know.
func (r *runner) look(ctx context.Context, chosen, all []Case) {
	if r.options.Line != V0 {
		return // its conversations need nothing that is stored, and cases that store something have a server of their own
	}
	var sent []*Case
	for i := range chosen {
		if outcome, _, _ := r.leaveOut(&chosen[i]); outcome == "" {
			sent = append(sent, &chosen[i])
		}
	}
	s := r.asker()
	looked := map[string]bool{}
	for i := range all {
		for _, id := range all[i].orphans() {
			if !looked[id] && slices.ContainsFunc(sent, func(c *Case) bool { return c.names(id) }) && s.isOrphan(ctx, id) {
				r.ground.orphans = append(r.ground.orphans, id)
			}
			looked[id] = true
		}
	}
	switch {
	case r.options.AllowSettings && slices.ContainsFunc(sent, (*Case).storesSettings):
		a, body := s.own(ctx, http.MethodGet, "/api/settings", "")
		r.ground.settings, r.ground.status = body, a.Status
		r.notice("settings are stored, and put back at the end as far as the API can")
	case !r.options.AllowSettings && slices.ContainsFunc(sent, (*Case).makesConversations):
		a, body := s.own(context.WithoutCancel(ctx), http.MethodPost, "/api/conversations", "{}")
		if id := body.str("conversation_id"); a.Status == http.StatusOK && id != "" {
			s.remove(context.WithoutCancel(ctx), "/api/conversations/"+url.PathEscape(id))
		}
		if r.ground.refuses = lacking[body.str("msg_id")]; r.ground.refuses != "" {
			n := 0
			for _, c := range sent {
				if c.makesConversations() {
					n++
				}
			}
			r.notice("the server makes no conversations, for it has not got %s: %d cases are left out; --allow-settings stores what they need, and puts yours back",
				r.ground.refuses, n)
		}
	}
}

// asker sends requests that belong to no case.
func (r *runner) asker() *scenario { return &scenario{runner: r, base: r.base, key: r.target.Key} }

func (r *runner) notice(format string, args ...any) {
	if r.options.Notice != nil {
		r.options.Notice(fmt.Sprintf(format, args...))
	}
}

// makesConversations tells whether c stands on a conversation that it makes.
func (c *Case) makesConversations() (makes bool) {
	c.each(func(_ string, s *Step) { makes = makes || s.creates() && s.Answer.Status == http.StatusOK })
	return makes
}

// storesSettings tells whether c stores settings, the recorder's own included.
func (c *Case) storesSettings() (stores bool) {
	c.each(func(_ string, s *Step) { stores = stores || s.writesSettings() })
	return stores
}

// isOrphan tells whether a folder, but no conversation, has this id.
func (s *scenario) isOrphan(ctx context.Context, id string) bool {
	_, config := s.own(ctx, http.MethodGet, "/api/conversations/"+id+"/config", "")
	return config.str("session_id") == id && s.isNobodys(ctx, id)
}

// leastHarmFirst orders the cases that leave something which no request can undo behind all others: the folder of a
// conversation that does not exist, and, last, a server that hangs.
func leastHarmFirst(a, b Case) int {
	harm := func(c Case) (n int) {
		n = min(1, len(c.orphans()))
		c.each(func(_ string, s *Step) {
			if s.Answer.Status == 0 {
				n = 2
			}
		})
		return n
	}
	return harm(a) - harm(b)
}

// putBack stores the settings that the server had before the run, and notes what is not as it was: keys and tokens stand
// in no answer, null keeps what is stored, and nothing removes settings.
func (r *runner) putBack(ctx context.Context) {
	if r.ground.status == 0 {
		return
	}
	remains := func(format string, args ...any) {
		r.remains = append(r.remains, "settings: "+fmt.Sprintf(format, args...))
	}
	none := r.ground.status == http.StatusNotFound
	switch {
	case r.ground.hung != "":
		remains("those of the run are stored, for the server hangs")
		return
	case !none && r.ground.status != http.StatusOK:
		remains("those of the run are stored, for the question for the old ones was answered by %s", statusText(r.ground.status))
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
	defer cancel()
	before := r.ground.settings
	if none {
		before = value{}
	}
	body := map[string]json.RawMessage{}
	for i, key := range before.keys {
		if key != "secrets_store" { // always empty in an answer
			body[key] = json.RawMessage(before.list[i].String())
		}
	}
	for name, pointer := range kept {
		if shown, _ := before.at(pointer); name != "user_consents_to_analytics" && shown.kind != '"' && shown.text != "true" {
			body[name] = json.RawMessage(`""`)
		}
	}
	text, err := json.Marshal(body)
	if err != nil {
		remains("%v", err)
		return
	}
	s := r.asker()
	if a, _ := s.own(ctx, http.MethodPost, "/api/settings", string(text)); a.Status != http.StatusOK {
		remains("those of the run are stored, for the old ones were answered by %s", statusText(a.Status))
		return
	}
	if none {
		remains("there were none; there are some without a model and a key now, for no request removes them")
		return
	}
	_, after := s.own(ctx, http.MethodGet, "/api/settings", "")
	for i, key := range before.keys {
		was := before.list[i]
		is, _ := after.get(key)
		name, isKey := strings.CutSuffix(key, "_set")
		switch {
		case isKey && was.text == "true":
			remains("%s is not the old one, which no answer tells: store it again", name)
		case is.String() != was.String() && !(was.kind == 'n' && is.kind == '"' && is.text == ""):
			remains("%s was %s, is %s", key, was, is)
		}
	}
}
