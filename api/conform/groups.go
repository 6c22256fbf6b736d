package conform

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Group names cases that not every server should be sent, or can be.
type Group string

// The groups. They are computed from the steps of a case by the rules told here, so that a new recording falls into the
// right ones by itself.
const (
	// Settings: the case changes settings, secrets or provider tokens: any method but GET, HEAD and OPTIONS at or below
	// /api/settings, /api/reset-settings, /api/secrets, /api/add-git-providers or /api/unset-provider-tokens.
	// The recorder's own first step, which only made conversations possible, does not count: without leave it is not sent,
	// and a case that makes a conversation is of this group on a server which makes none for want of settings.
	Settings Group = "settings"
	// Harm: the case hung the real server or left its bounds: a request without an answer; a write to a conversation id
	// that leads out of a folder; a write that made a folder for a conversation that does not exist; feedback, which the
	// real server posts to the network.
	Harm Group = "harm"
	// Agent: an agent, an LLM or a runtime acts: an accepted action other than "null", a conversation created with a task
	// (message, images, suggested task, replay, repository), a prompt asked of the LLM.
	Agent Group = "agent"
	// Env: the server must be started with an environment variable. Only a server that the run starts can be.
	Env Group = "env"
	// Restart: the server is stopped and started on the same data. As Env.
	Restart Group = "restart"
	// Fresh: the recording says that its answers hold on a server which nobody has used yet. As Env.
	Fresh Group = "fresh"
)

// Groups returns the groups of c, sorted; none means that any server may be sent it.
func (c *Case) Groups() []Group {
	var groups []Group
	add := func(g Group, is bool) {
		if is && !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	add(Env, len(c.Env) > 0)
	add(Restart, slices.ContainsFunc(c.Steps, func(s Step) bool { return s.Op == "restart" }))
	add(Fresh, c.Fresh)
	if c.Line == AgentServer {
		add(Agent, len(c.LLM) > 0)
		add(Harm, slices.ContainsFunc(c.LLM, Reply.works))
		c.each(func(_ string, s *Step) {
			if g := s.agentServerGroup(); g != "" {
				add(g, true)
			}
		})
		slices.Sort(groups)
		return groups
	}
	preamble := c.hasPreamble()
	c.each(func(id string, s *Step) {
		add(Settings, s.writesSettings() && !(preamble && id == "0"))
		add(Harm, s.harms())
		add(Agent, s.makesAgentAct())
	})
	slices.Sort(groups)
	return groups
}

// needsEnv tells what a case of the group Env needs. Two variables are not OpenHands' own but the recorder's.
func needsEnv(env map[string]string) string {
	for name, need := range map[string]string{
		"RATELIMIT":    "goes over the rate limit, under which a run stays",
		"HTTPREC_LINK": "needs the recorder's current folder",
	} {
		if _, ok := env[name]; ok {
			return need
		}
	}
	return "needs a server started with " + strings.Join(slices.Sorted(maps.Keys(env)), ", ")
}

// recorderSettings is what the recorder posted before it made conversations.
const recorderSettings = `{"llm_model": "openai/fake", "llm_api_key": "sk-x", "llm_base_url": "http://127.0.0.1:3915/v1", "agent": "CodeActAgent", "language": "en"}`

// hasPreamble tells whether the first step of c only lets conversations be made.
func (c *Case) hasPreamble() bool {
	s := &c.Steps[0]
	return s.Method == "POST" && s.Path == "/api/settings" && s.BodyRaw == recorderSettings
}

func (s *Step) writes() bool {
	return s.isRequest() && !slices.Contains([]string{"GET", "HEAD", "OPTIONS", "TRACE"}, s.Method)
}

func (s *Step) writesSettings() bool {
	if !s.writes() {
		return false
	}
	for _, prefix := range []string{"/api/settings", "/api/reset-settings", "/api/secrets", "/api/add-git-providers", "/api/unset-provider-tokens"} {
		if strings.HasPrefix(s.Path, prefix) {
			return true
		}
	}
	return false
}

func (s *Step) harms() bool {
	if s.Answer.Status == 0 {
		return true
	}
	if !s.writes() {
		return false
	}
	if id, ok := s.createdID(); ok && leadsOut(id) {
		return true
	}
	id, operation, ok := conversation(s.Path)
	if !ok {
		return false
	}
	return leadsOut(id) ||
		s.Answer.Status == 200 && (operation == "submit-feedback" || operation == "exp-config" && !placeholder.MatchString(id))
}

// leadsOut tells whether a conversation id of a path, taken as a file name, is not one file in its folder.
func leadsOut(id string) bool {
	if u, err := url.PathUnescape(id); err == nil {
		id = u
	}
	return strings.ContainsAny(id, "/\\\x00") || strings.HasPrefix(id, "..")
}

// acting are the members of a create request that give the agent or its runtime something to do.
var acting = []string{"initial_user_msg", "image_urls", "suggested_task", "create_microagent", "replay_json", "repository"}

func (s *Step) makesAgentAct() bool {
	if status := s.Answer.Status; status != 200 && status < 500 {
		return false
	}
	if s.creates() {
		body := s.json()
		return slices.ContainsFunc(acting, func(key string) bool {
			m, ok := body.get(key)
			return ok && !slices.Contains([]string{"null", `""`, "[]"}, m.String())
		})
	}
	_, operation, _ := conversation(s.Path)
	switch operation {
	case "events":
		kind, posted := s.posts()
		return posted && strings.HasPrefix(kind, "action:") && kind != "action:null"
	case "remember-prompt":
		return s.Method == "GET"
	}
	return false
}

// conversation takes a path below /api/conversations apart: the id as it stands there, and the operation ("" for the
// conversation itself), both without the query.
func conversation(path string) (id, operation string, ok bool) {
	path, _, _ = strings.Cut(path, "?")
	rest, ok := strings.CutPrefix(path, "/api/conversations/")
	if !ok {
		return "", "", false
	}
	id, operation, _ = strings.Cut(rest, "/")
	if id == "search" || id == "count" { // what the agent server tells of all of them
		return "", "", false
	}
	return id, strings.TrimRight(operation, "/"), id != ""
}

// creates tells a request that makes a conversation.
func (s *Step) creates() bool {
	path, _, _ := strings.Cut(s.Path, "?")
	return s.Method == "POST" && strings.TrimRight(path, "/") == "/api/conversations"
}

// createdID is the id that a create request asks for.
func (s *Step) createdID() (string, bool) {
	if !s.creates() {
		return "", false
	}
	id := s.json().str("conversation_id")
	return id, id != ""
}

// lists tells a request for the list of all conversations.
func (s *Step) lists() bool {
	path, _, _ := strings.Cut(s.Path, "?")
	return s.Method == "GET" && path == "/api/conversations"
}

// json is the request's body, the zero value if it is no JSON.
func (s *Step) json() value {
	if s.BodyGen != nil {
		return value{}
	}
	b, _, err := s.body()
	if err != nil {
		return value{}
	}
	v, err := parseJSON(b)
	if err != nil {
		return value{}
	}
	return v
}

// posts returns the kind of the event that the real server took, "action:NAME" or "observation:NAME".
func (s *Step) posts() (kind string, accepted bool) {
	if _, operation, _ := conversation(s.Path); s.Method != "POST" || operation != "events" || s.Answer.Status != 200 {
		return "", false
	}
	if s.BodyGen != nil {
		return generatedKind(s.BodyGen.Prefix), true
	}
	return eventKind(s.json()), true
}

var kindInText = regexp.MustCompile(`"(action|observation)" *: *"([^"]*)"`)

func generatedKind(prefix string) string {
	if m := kindInText.FindStringSubmatch(prefix); m != nil {
		return m[1] + ":" + m[2]
	}
	return ""
}

func eventKind(event value) string {
	if action := event.str("action"); action != "" {
		return "action:" + action
	}
	return "observation:" + event.str("observation")
}

// fixedIDs are the conversation ids that c writes to and did not get from a create request: they stand in its paths or
// bodies. They mean conversations that do not exist, which a server with somebody's work must be asked first.
func (c *Case) fixedIDs() []string {
	var ids []string
	add := func(id string) {
		if id != "" && !placeholder.MatchString(id) && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	c.each(func(_ string, s *Step) {
		if !s.writes() || s.tooLong() {
			return
		}
		if id, ok := s.createdID(); ok {
			add(url.PathEscape(id))
		}
		if id, _, ok := conversation(s.Path); ok {
			add(id)
		}
	})
	return ids
}

// orphans are the ids for which c makes a folder without a conversation, on the real server [sub_exp_config_unknown_creates_dir].
func (c *Case) orphans() (ids []string) {
	c.each(func(_ string, s *Step) {
		id, operation, _ := conversation(s.Path)
		if s.writes() && operation == "exp-config" && s.Answer.Status == 200 && !placeholder.MatchString(id) && !s.tooLong() && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	})
	return ids
}

// names tells whether a request of c is for the conversation id.
func (c *Case) names(id string) (names bool) {
	c.each(func(_ string, s *Step) {
		named, _, _ := conversation(s.Path)
		names = names || named == id
	})
	return names
}

// maxName is how long a file's name can be, in bytes: longer ids of conversations are no names.
const maxName = 255

// tooLong tells a request for a conversation whose id cannot be the name of a file. The real server finds out, and fails,
// once it has a folder of conversations at all; it was recorded before that.
func (s *Step) tooLong() bool {
	id, _, _ := conversation(s.Path)
	if raw, err := url.PathUnescape(id); err == nil {
		id = raw
	}
	return len(id) > maxName && (s.Answer.Status < 500 || s.writes())
}

// secretNames are the names of the secrets that c creates, changes or deletes.
func (c *Case) secretNames() (names []string) {
	c.each(func(_ string, s *Step) {
		if !s.writes() || !strings.HasPrefix(s.Path, "/api/secrets") {
			return
		}
		if name, err := url.PathUnescape(strings.TrimPrefix(s.Path, "/api/secrets/")); err == nil && strings.HasPrefix(s.Path, "/api/secrets/") {
			names = append(names, name)
		}
		if name := s.json().str("name"); name != "" {
			names = append(names, name)
		}
	})
	return names
}

// needsFresh tells why a step has the recorded answer only on a server that nobody has used yet; "" if it does not.
func (c *Case) needsFresh(s *Step, settings bool) string {
	body := string(s.Answer.Body)
	path, query, _ := strings.Cut(s.Path, "?")
	switch {
	case s.tooLong():
		return fmt.Sprintf("an id of more than %d bytes has this answer only where there never was a conversation", maxName)
	case strings.HasPrefix(path, "/api/user/") && (s.Answer.Status == 200 || s.Answer.Status == 401):
		return "depends on the provider tokens stored"
	case path == "/api/settings" && s.Method == "GET" && (s.Answer.Status == 404 || s.Answer.Status == 200 && !settings):
		return "depends on the settings stored"
	case strings.Contains(body, "SETTINGS_NOT_FOUND") || strings.Contains(body, "ERROR_LLM_AUTHENTICATION"):
		return "depends on the settings stored"
	case strings.HasPrefix(path, "/api/secrets/") && s.Answer.Status == 200 && !c.createsSecret():
		return "depends on no secret ever stored"
	case s.lists() && countsFromEnd(query):
		return "counts all conversations"
	}
	return ""
}

// countsFromEnd tells a page of conversations that begins or ends so many before the last one.
func countsFromEnd(query string) bool {
	q, _ := url.ParseQuery(query)
	offset, _ := base64.StdEncoding.DecodeString(q.Get("page_id"))
	return strings.HasPrefix(q.Get("limit"), "-") || bytes.HasPrefix(offset, []byte("-"))
}

func (c *Case) createsSecret() (creates bool) {
	c.each(func(_ string, s *Step) { creates = creates || s.createsSecret() })
	return creates
}

func (s *Step) createsSecret() bool {
	return s.Method == "POST" && s.Path == "/api/secrets" && s.Answer.Status == 201
}

// deletable tells whether a path can name a secret, so that it can be deleted again.
func deletable(secret string) bool { return secret != "" && !strings.Contains(secret, "/") }

// kept are the settings that stay as they were unless a new value is posted, and where an answer shows them.
var kept = map[string]string{
	"llm_model": "/llm_model", "llm_base_url": "/llm_base_url", "llm_api_key": "/llm_api_key_set",
	"search_api_key": "/search_api_key_set", "user_consents_to_analytics": "/user_consents_to_analytics",
}

// keptSettings are the pointers of an answer to st which show settings that nothing in the case has set before: on a
// server with a history they are anything.
func (c *Case) keptSettings(st *Step) (pointers []string) {
	set := map[string]bool{}
	for i := range c.Steps {
		s := &c.Steps[i]
		if s == st {
			break
		}
		if s.Method != "POST" || s.Path != "/api/settings" || s.Answer.Status != 200 {
			continue
		}
		body := s.json()
		for name := range kept {
			if v, ok := body.get(name); ok && v.kind != 'n' {
				set[name] = true
			}
		}
	}
	for name, pointer := range kept {
		if !set[name] {
			pointers = append(pointers, pointer)
		}
	}
	return pointers
}
