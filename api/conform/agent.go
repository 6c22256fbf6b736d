package conform

import (
	"slices"
	"strconv"
	"strings"
)

// The recordings were made with an agent, a fake LLM and a runtime at work. A server without them cannot have their
// answers, so three rules, computed from the recording alone, tell the part of a scenario that is the client's own.
// Each applies only where the answer is not simply as recorded, and what it lets pass is counted apart.
//
// Part (outcome Part): the answer is compared in part.
//   - Events. In a list of events that reaches to or beyond the first event which an agent or a runtime wrote in that
//     conversation, only what the client posted is compared: source "user" and a kind that the scenario posted, in
//     order; the ids and causes, which the agent's events have moved, are not. An agent's event is one that was not posted and
//     is not of the frame every conversation has (loading, system, awaiting_user_input, stopped); a system event after a
//     posted one, written while the loop was starting; every event of a conversation that was created to replay.
//   - Titles. In a case of the group Agent, a title which is neither the default one nor one that the client set was
//     written by the LLM: any string passes.
//   - Start-up. A conversation that was recorded as STARTING may be RUNNING already, also where it is stopped, or started
//     again, while it still starts.
//
// Theirs (outcome Theirs): nothing in the answer is the client's. Files read after a runtime was told to write some (run,
// unless the server has a Runtime, run_ipython, write, edit), a prompt asked of the LLM, the feedback service's answer, and steps that differed between two
// recordings: a 200 with the same kind of document, or a 4xx, passes.
type analysis struct {
	posted map[string]map[string]bool // conversation as in the path => kinds posted to it
	first  map[string]int             // conversation => id of the first event that an agent or a runtime wrote
	titles map[string]bool            // titles that the client set
	acts   bool                       // the case is of the group Agent
	again  map[*Step]bool             // steps that stop, or start again, a conversation which still starts
	theirs map[string]bool            // ids of the steps of the third rule
}

// runAction is the kind of action that a Runtime does.
const runAction = "action:run"

// analyse applies the rules to c. With a runtime, what run actions write is compared as recorded.
func analyse(c *Case, runtime bool) analysis {
	a := analysis{
		posted: map[string]map[string]bool{},
		first:  map[string]int{},
		titles: map[string]bool{},
		acts:   slices.Contains(c.Groups(), Agent),
		again:  map[*Step]bool{},
		theirs: map[string]bool{},
	}
	starting := map[string]bool{} // the conversation, as recorded before the current step
	replayed, wrote := map[string]bool{}, map[string]bool{}
	post := func(conversation, kind string) {
		if a.posted[conversation] == nil {
			a.posted[conversation] = map[string]bool{}
		}
		a.posted[conversation][kind] = true
	}
	c.each(func(step string, s *Step) {
		id, operation, _ := conversation(s.Path)
		if kind, ok := s.posts(); ok {
			post(id, kind)
			wrote[id] = wrote[id] || kind == runAction && !runtime || slices.Contains([]string{"action:run_ipython", "action:write", "action:edit"}, kind)
		}
		if s.creates() && s.Answer.Status == 200 {
			body := s.json()
			_, message := body.get("initial_user_msg")
			_, images := body.get("image_urls")
			for name := range s.Capture {
				if message || images {
					post("{{"+name+"}}", "action:message")
				}
				replayed["{{"+name+"}}"] = body.str("replay_json") != ""
			}
		}
		switch {
		case operation == "start" && s.Answer.Status == 200:
			a.again[s] = starting[id] && s.answered("conversation_status") == "STARTING"
			starting[id] = true
		case operation == "stop":
			a.again[s] = s.Answer.Status == 200 && s.answered("conversation_status") == "STARTING"
			starting[id] = false
		case s.Method == "DELETE":
			starting[id] = false
		}
		if s.Method == "PATCH" {
			a.titles[strings.TrimSpace(s.json().str("title"))] = true
		}
		reads := slices.Contains([]string{"list-files", "select-file", "zip-directory", "git/changes", "git/diff"}, operation)
		switch status := s.Answer.Status; {
		case reads && wrote[id] && (status == 200 || status == 415),
			(operation == "remember-prompt" || operation == "submit-feedback") && status == 200:
			a.theirs[step] = true
		}
	})
	for _, i := range c.Racy {
		a.theirs[strconv.Itoa(i)] = c.Steps[i].Answer.Status != 0
	}
	c.each(func(_ string, s *Step) {
		id, _, _ := conversation(s.Path)
		_, events := s.events()
		posted := -1 // the lowest id of a posted event
		for _, e := range events {
			if n := eventID(e); a.isPosted(id, e) && (posted < 0 || n < posted) {
				posted = n
			}
		}
		for _, e := range events {
			n := eventID(e)
			late := e.str("action") == "system" && posted >= 0 && n > posted
			if a.isPosted(id, e) || isFrame(e) && !late && !replayed[id] {
				continue
			}
			if first, ok := a.first[id]; !ok || n < first {
				a.first[id] = n
			}
		}
	})
	return a
}

// isPosted tells an event that the client posted, or one that cannot be told from it.
func (a analysis) isPosted(conversation string, event value) bool {
	return event.str("source") == "user" && a.posted[conversation][eventKind(event)]
}

// isFrame tells an event that every conversation gets without anybody's doing.
func isFrame(event value) bool {
	var state string
	switch eventKind(event) {
	case "action:system":
		return event.str("source") == "agent"
	case "action:change_agent_state":
		args, _ := event.get("args")
		state = args.str("agent_state")
	case "observation:agent_state_changed":
		extras, _ := event.get("extras")
		state = extras.str("agent_state")
	}
	return event.str("source") == "environment" && slices.Contains([]string{"loading", "awaiting_user_input", "stopped"}, state)
}

func eventID(event value) int {
	v, _ := event.get("id")
	n, err := strconv.Atoi(v.text)
	if err != nil {
		return -1
	}
	return n
}

// events returns the recorded list of events in the answer to s, and its pointer.
func (s *Step) events() (pointer string, events []value) {
	if s.Method != "GET" || s.Answer.Status != 200 {
		return "", nil
	}
	_, operation, _ := conversation(s.Path)
	name, ok := map[string]string{"events": "events", "trajectory": "trajectory"}[operation]
	if !ok {
		return "", nil
	}
	body, err := parseJSON(s.Answer.Body)
	if err != nil {
		return "", nil
	}
	list, _ := body.get(name)
	return "/" + name, list.list
}

// answered returns a member of the recorded answer, "" if it is no text.
func (s *Step) answered(key string) string {
	body, err := parseJSON(s.Answer.Body)
	if err != nil {
		return ""
	}
	return body.str(key)
}

// view returns the part of the answer to s that is the client's own; the zero view if all of it is.
func (a analysis) view(s *Step) view {
	if a.again[s] {
		return view{starting: true}
	}
	if s.Method != "GET" || s.Answer.Status != 200 {
		return view{}
	}
	id, operation, _ := conversation(s.Path)
	if pointer, events := s.events(); pointer != "" {
		return a.eventsView(id, pointer, events)
	}
	var v view
	if operation != "" || id == "" && !s.lists() {
		return v
	}
	body, err := parseJSON(s.Answer.Body)
	if err != nil {
		return v
	}
	conversations := map[string]value{"": body}
	results, _ := body.get("results")
	for i, r := range results.list {
		conversations[element("/results", i)] = r
	}
	for pointer, conversation := range conversations {
		v.starting = v.starting || conversation.str("status") == "STARTING"
		title := conversation.str("title")
		if a.acts && title != "" && !strings.HasPrefix(title, "Conversation {{") && !a.titles[title] {
			if v.format == nil {
				v.format = map[string]string{}
			}
			v.format[member(pointer, "title")] = "string"
		}
	}
	return v
}

func (a analysis) eventsView(conversation, pointer string, events []value) view {
	first, acted := a.first[conversation]
	if !acted || !slices.ContainsFunc(events, func(e value) bool { return eventID(e) >= first }) {
		return view{}
	}
	v := view{list: pointer, own: func(e value) bool { return a.isPosted(conversation, e) }}
	for i := range events {
		v.ignore = append(v.ignore, element(pointer, i)+"/id", element(pointer, i)+"/cause")
	}
	return v
}
