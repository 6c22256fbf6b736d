package conform

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	ownTimeout     = 20 * time.Second // for an answer of a V0 server that the run started
	foreignTimeout = 60 * time.Second // of any other
	hangTimeout    = 15 * time.Second // of any other, where the recorded server never answered
	settleTimeout  = 2 * time.Minute  // for an agent to be quiet
	unreadable     = 3 * time.Second  // for events that are answered by an error, on a server that the run did not start
	writing        = 300 * time.Millisecond
	cleanTimeout   = 30 * time.Second // for the requests that delete what was made
	untilTimeout   = 60 * time.Second // for an answer to have the values that a step waits for
	pollInterval   = 50 * time.Millisecond
	frameTimeout   = 60 * time.Second       // for the next frame of a websocket
	maxQuiet       = 200 * time.Millisecond // without a frame: nothing came, as recorded
	keyHeader      = "X-Session-API-Key"
)

// stopped is why a request was not sent, or not answered, when the context of the run ended.
const stopped = "the run was stopped"

// runner holds what all cases of a run share.
type runner struct {
	target  Target
	base    *url.URL // of a server that the run did not start
	options Options
	pace    *pace
	ground  ground
	model   *model // the stand-in for an LLM; nil until a case needs it
	// notDeleted are the paths of what the run made on a server that it did not start, and could not delete.
	notDeleted []string
	remains    []string // what else it changed there, and no request can put back
}

func (r *runner) owned() bool { return r.target.Start != nil }

// scenario is one case being run.
type scenario struct {
	*runner
	c       *Case
	base    *url.URL
	key     string
	server  Server  // nil if the run did not start it
	runtime Runtime // the server, if it has one
	vars    vars
	due     map[string]bool // placeholders that an answer should have set by now
	posted  map[string]bool // conversations, as in a path of the case, that an event was posted to
	lenient bool            // an answer was more lenient than the recorded server's
	rules   analysis
	fixed   map[string]bool // ids that stand in the case and were asked for: nobody's
	mine    map[string]bool // ids, as in a path, of the conversations that this case made
	secrets map[string]bool // names of the secrets that this case made
	sockets map[string]*socket
	result  *CaseResult
}

func (r *runner) newScenario(c *Case) *scenario {
	return &scenario{runner: r, c: c, base: r.base, key: r.target.Key, vars: vars{}, due: map[string]bool{}, posted: map[string]bool{},
		fixed: map[string]bool{}, mine: map[string]bool{}, secrets: map[string]bool{}, sockets: map[string]*socket{},
		result: &CaseResult{Name: c.Name, Recorded: c.Recorded, Note: c.Note, Groups: c.Groups()}}
}

func (r *runner) runCase(ctx context.Context, c *Case) (CaseResult, error) {
	started := r.options.clock.now()
	s := r.newScenario(c)
	err := s.run(ctx)
	s.result.Elapsed = r.options.clock.now().Sub(started)
	return *s.result, err
}

func (s *scenario) run(ctx context.Context) (err error) {
	if s.owned() {
		if s.server, err = s.target.Start(ctx, s.c.Env); err != nil {
			s.skip(NotApplicable, "the server did not start: "+err.Error())
			return fmt.Errorf("case %s: start: %w", s.c.Name, err)
		}
		defer func() { err = errors.Join(err, s.server.Close()) }()
		s.runtime, _ = s.server.(Runtime)
		s.key = s.c.Env["SESSION_API_KEY"]
		if err := s.moved(); err != nil {
			return err
		}
	} else {
		outcome, reason, groups := s.leaveOut(s.c)
		if outcome != "" {
			s.result.LeftOut = groups
			s.skip(outcome, reason)
			return nil
		}
		defer s.clean(ctx)
		if reason := s.somebodys(ctx); reason != "" {
			s.skip(NotApplicable, reason)
			return nil
		}
	}
	s.vars["host"] = s.base.Host
	if s.c.Line == V0 {
		s.rules = analyse(s.c, s.runtime != nil)
	}
	defer s.hangUpAll()
	for i := range s.c.Steps {
		if ctx.Err() != nil {
			s.rest(i, NotApplicable, stopped)
			return nil
		}
		if err := s.step(ctx, strconv.Itoa(i), &s.c.Steps[i]); err != nil {
			s.rest(i, Failed, err.Error())
			return nil
		}
	}
	return nil
}

// leaveOut tells why c is not sent to a server that the run did not start, and which groups would have to be allowed; the
// outcome is "" if it is sent.
func (r *runner) leaveOut(c *Case) (o Outcome, reason string, notAllowed []Group) {
	makes := r.ground.refuses != "" && c.makesConversations()
	for _, g := range c.Groups() {
		switch {
		case g == Env:
			return NotApplicable, needsEnv(c.Env), nil
		case g == Restart:
			return NotApplicable, "needs a restart of the server", nil
		case g == Fresh:
			return NotApplicable, "needs a server that nobody has used yet", nil
		case !r.options.allows(g):
			reason += ", " + string(g)
			notAllowed = append(notAllowed, g)
		}
	}
	switch {
	case notAllowed != nil:
		if makes && !slices.Contains(notAllowed, Settings) {
			notAllowed = append(notAllowed, Settings)
		}
		return LeftOut, "not allowed: " + reason[2:], notAllowed
	case makes:
		return LeftOut, "makes a conversation, and the server has not got " + r.ground.refuses, []Group{Settings}
	case slices.ContainsFunc(r.ground.orphans, c.names):
		return NotApplicable, "an earlier run left a folder for a conversation that it names", nil
	case r.ground.hung != "":
		return NotApplicable, "the server hangs since " + r.ground.hung + ", as the recorded one did", nil
	}
	return "", "", nil
}

// somebodys tells what the case would change though the run did not make it, "" if nothing. What the case names and nobody
// has is the case's own from then on.
func (s *scenario) somebodys(ctx context.Context) string {
	for _, id := range s.c.fixedIDs() {
		if !s.isNobodys(ctx, id) {
			return fmt.Sprintf("conversation %s may be somebody's", abbreviate(id))
		}
		s.fixed[id] = true
	}
	names := s.c.secretNames()
	if len(names) == 0 {
		return ""
	}
	_, body := s.own(ctx, http.MethodGet, "/api/secrets", "")
	list, _ := body.get("custom_secrets")
	for _, secret := range list.list {
		if name := secret.str("name"); slices.Contains(names, name) {
			return fmt.Sprintf("secret %s may be somebody's", abbreviate(name))
		}
	}
	return ""
}

func (s *scenario) skip(o Outcome, reason string) {
	s.result.Reason = reason
	s.c.each(func(id string, st *Step) { s.record(id, st, StepResult{Outcome: o, Note: reason}) })
}

// rest records the requests from step i on as not sent.
func (s *scenario) rest(i int, o Outcome, reason string) {
	s.c.each(func(id string, st *Step) {
		n, _, _ := strings.Cut(id, ".")
		if at, err := strconv.Atoi(n); err == nil && at >= i {
			s.record(id, st, StepResult{Outcome: o, Note: reason})
		}
	})
}

func (s *scenario) record(id string, st *Step, r StepResult) {
	r.Step, r.Request = id, strings.TrimSpace(st.Op+" "+st.Var+st.Method+" "+st.Path)
	s.result.Steps = append(s.result.Steps, r)
}

// moved takes over the URL of a server that was started.
func (s *scenario) moved() error {
	base, err := parseURL(s.server.URL())
	if err != nil {
		return fmt.Errorf("case %s: %w", s.c.Name, err)
	}
	s.base = base
	s.vars["host"] = base.Host
	return nil
}

// step does one step; it returns an error if no further one makes sense.
func (s *scenario) step(ctx context.Context, id string, st *Step) error {
	switch st.Op {
	case "settle":
		s.settle(ctx, st)
	case "sleep":
		s.options.clock.sleep(ctx, s.pause(st))
	case "restart":
		if err := s.server.Restart(ctx); err != nil {
			return fmt.Errorf("restart: %w", err)
		}
		return s.moved()
	case "parallel":
		s.parallel(ctx, id, st)
	case "release":
		s.model.release(s.c.Name)
	case "asked":
		return s.waitAsked(ctx, st.Count)
	case "connect":
		s.connect(ctx, id, st)
	case "send":
		return s.say(ctx, st)
	case "receive":
		s.receive(ctx, id, st)
	case "hangup":
		s.hangUp(st.Var)
	default:
		s.request(ctx, id, st)
	}
	return nil
}

// pause is how long a sleep lasts. The recorder slept because the real server does some things after its answer, a
// server that the run started needs less; but where the rate limit is on, time is what the case is about.
func (s *scenario) pause(st *Step) time.Duration {
	d := time.Duration(st.MS) * time.Millisecond
	if s.owned() && s.c.Env["RATELIMIT"] == "" {
		return min(d, 50*time.Millisecond)
	}
	return d
}

// prepare fills in the request of st.
func (s *scenario) prepare(st *Step) (message, error) {
	m := message{method: st.Method, chunked: st.Chunked}
	var errs [2]error
	if len(s.c.LLM) > 0 && s.vars["llm"] == "" && strings.Contains(st.BodyRaw, "{{llm}}") {
		if err := s.stand(); err != nil {
			return message{}, err
		}
	}
	m.target, errs[0] = s.vars.expand(st.Path, s.due)
	for _, h := range st.Headers {
		v, err := s.vars.expand(h[1], s.due)
		errs[0] = errors.Join(errs[0], err)
		m.headers = append(m.headers, [2]string{h[0], v})
	}
	body, template, err := st.body()
	if err != nil {
		return message{}, err
	}
	if template {
		var text string
		text, errs[1] = s.vars.expand(string(body), s.due)
		body = []byte(text)
	}
	m.body = body
	if !s.owned() && s.key != "" && !m.has(keyHeader) {
		m.headers = append(m.headers, [2]string{keyHeader, s.key})
	}
	return m, errors.Join(errs[:]...)
}

// request sends one recorded request and judges the answer.
func (s *scenario) request(ctx context.Context, id string, st *Step) {
	if o, reason := s.withhold(id, st); reason != "" {
		s.record(id, st, StepResult{Outcome: o, Note: reason})
		return
	}
	m, err := s.prepare(st)
	if err == nil {
		err = s.guard(m, st)
	}
	if err != nil {
		s.expectCaptures(st)
		s.record(id, st, StepResult{Outcome: Failed, Note: "not sent: " + err.Error()})
		return
	}
	a := s.send(ctx, m, st)
	for begun := s.options.clock.now(); !a.has(st.Until) && ctx.Err() == nil && s.options.clock.now().Sub(begun) < untilTimeout; {
		s.options.clock.sleep(ctx, pollInterval)
		a = s.send(ctx, m, st)
	}
	if a.Status == 0 && ctx.Err() != nil {
		s.record(id, st, StepResult{Outcome: NotApplicable, Note: stopped})
		return
	}
	again := s.caughtWriting(st, a)
	if again {
		s.options.clock.sleep(ctx, writing)
		a = s.send(ctx, m, st)
	}
	s.capture(st, a)
	r := s.judge(id, st, m, a)
	if again && r.Note == "" {
		r.Note = "asked twice, for the recorded server does not read what it still writes"
	}
	s.record(id, st, r)
	s.act(ctx, m, st, a)
}

// caughtWriting tells an answer that the recorded server gives, once in a while, to who reads a file that it writes: an
// event or the data of a conversation. A server that the run did not start may do so; the request is sent again, once, for
// none of these changes anything that the first one did not.
func (s *scenario) caughtWriting(st *Step, a Answer) bool {
	if s.owned() || st.Answer.Status != http.StatusOK || s.c.Line != V0 {
		return false
	}
	_, operation, ok := conversation(st.Path)
	switch {
	case st.lists(): // leaves the conversation out
		return a.Status == http.StatusOK && len(compare(st.Method, st.Answer, a, s.vars, s.listed(st))) > 0
	case st.Method == http.MethodGet && ok && slices.Contains([]string{"", "events", "trajectory"}, operation):
		return a.Status == http.StatusInternalServerError
	case st.Method == http.MethodPost && operation == "start":
		return a.Status == http.StatusNotFound
	}
	return false
}

// act has a run action done that was accepted.
func (s *scenario) act(ctx context.Context, m message, st *Step, a Answer) {
	if kind, accepted := st.posts(); s.runtime == nil || !accepted || kind != runAction || a.Status != http.StatusOK {
		return
	}
	body, err := parseJSON(m.body)
	if err != nil {
		return
	}
	id, _, _ := conversation(m.target)
	args, _ := body.get("args")
	if err := s.runtime.Shell(ctx, id, args.str("command")); err != nil {
		s.result.Notes = append(s.result.Notes, fmt.Sprintf("%s: %v", runAction, err))
	}
}

// withhold tells why a step is not sent to a server that the run did not start, though its case is.
func (s *scenario) withhold(id string, st *Step) (Outcome, string) {
	if s.owned() {
		return "", ""
	}
	if id == "0" && s.c.hasPreamble() && !s.options.AllowSettings {
		return LeftOut, "the recorder's settings are not stored"
	}
	if st.createsSecret() && !deletable(st.json().str("name")) {
		return NotApplicable, "no request could delete the secret again"
	}
	if reason := s.c.needsFresh(st, s.options.AllowSettings); reason != "" && s.c.Line == V0 {
		return NotApplicable, reason
	}
	return "", ""
}

// guard refuses to change a conversation that this run did not make, on a server that it did not start.
func (s *scenario) guard(m message, st *Step) error {
	if s.owned() || !st.writes() {
		return nil
	}
	id, _, ok := conversation(m.target)
	if ok && !s.mine[id] && !s.fixed[id] {
		return fmt.Errorf("conversation %s was not made by this run", abbreviate(id))
	}
	return nil
}

// send sends m, paced. A request that makes a conversation is not cut off when the run is stopped: its answer tells what
// is to be deleted.
func (s *scenario) send(ctx context.Context, m message, st *Step) Answer {
	s.pace.wait(ctx)
	timeout := foreignTimeout
	if s.owned() && s.options.Line == V0 {
		timeout = ownTimeout
	} else if st != nil && st.Answer.Status == 0 {
		timeout = hangTimeout
	}
	if st != nil && st.creates() {
		ctx = context.WithoutCancel(ctx)
	}
	a := send(ctx, s.base, m, timeout)
	if st != nil && !s.owned() {
		s.note(m, st, a)
	}
	return a
}

func (s *scenario) expectCaptures(st *Step) {
	for name := range st.Capture {
		if st.Answer.Status/100 == 2 {
			s.due[name] = true
		}
	}
}

func (s *scenario) capture(st *Step, a Answer) {
	s.expectCaptures(st)
	if _, accepted := st.posts(); accepted && a.Status == http.StatusOK {
		id, _, _ := conversation(st.Path)
		s.posted[id] = true
	}
	if len(st.Capture) == 0 {
		return
	}
	body, err := parseJSON(a.Body)
	if err != nil {
		return
	}
	for name, pointer := range st.Capture {
		if v, ok := body.at(pointer); ok && v.text != "" {
			s.vars[name] = v.text
		}
	}
}

// parallel sends requests at once. Which answer goes to which of them is not told by the recording: each is given the
// first recorded answer that it equals and that no other has; what remains is compared in order.
func (s *scenario) parallel(ctx context.Context, id string, group *Step) {
	messages := make([]message, len(group.Steps))
	answers := make([]Answer, len(group.Steps))
	var sent sync.WaitGroup
	for i := range group.Steps {
		m, err := s.prepare(&group.Steps[i])
		if err == nil {
			err = s.guard(m, &group.Steps[i])
		}
		if err != nil {
			answers[i] = Answer{Err: "not sent: " + err.Error()}
			continue
		}
		messages[i] = m
		if !s.owned() { // one goroutine at a time may wait for the pace and note what is made
			answers[i] = s.send(ctx, m, &group.Steps[i])
			continue
		}
		sent.Go(func() { answers[i] = s.send(ctx, m, &group.Steps[i]) })
	}
	sent.Wait()
	free := make([]int, len(answers))
	for i := range free {
		free[i] = i
	}
	give := func(i, answer int) {
		st := &group.Steps[i]
		s.capture(st, answers[answer])
		s.record(fmt.Sprintf("%s.%d", id, i), st, s.judge(fmt.Sprintf("%s.%d", id, i), st, messages[answer], answers[answer]))
		free = slices.DeleteFunc(free, func(n int) bool { return n == answer })
	}
	var unmatched []int
	for i := range group.Steps {
		st := &group.Steps[i]
		at := slices.IndexFunc(free, func(n int) bool {
			return len(compare(st.Method, st.Answer, answers[n], s.vars, view{line: s.c.Line})) == 0
		})
		if at < 0 {
			unmatched = append(unmatched, i)
			continue
		}
		give(i, free[at])
	}
	for _, i := range unmatched {
		give(i, free[0])
	}
}

// judge compares the answer with the recorded one and names the outcome.
func (s *scenario) judge(id string, st *Step, m message, a Answer) StepResult {
	whole, lenient := s.listed(st), s.leniency(a)
	whole.foreign, whole.line = !s.owned(), s.c.Line
	diffs := compare(st.Method, st.Answer, a, s.vars, whole)
	r := StepResult{Outcome: Held}
	switch {
	case st.Answer.Status == 0 && a.Status == 0:
		if !s.owned() && s.ground.hung == "" {
			s.ground.hung = s.c.Name + " step " + id
		}
		return r // it hung, as recorded
	case st.Answer.Status == 0 && a.Status < 500, st.Answer.Status >= 500 && a.isRefusal():
		return StepResult{Outcome: Refused, Got: statusText(a.Status)}
	case len(diffs) == 0 && whole.partial():
		return StepResult{Outcome: Part}
	case len(diffs) == 0:
		return r
	}
	if own := s.rules.view(st); own.partial() {
		own.foreign = whole.foreign
		if whole.partial() {
			own.ignore = append(own.ignore, whole.ignore...)
			own.own, own.list = whole.own, whole.list
		}
		r.Outcome = Part
		diffs = compare(st.Method, st.Answer, a, s.vars, own)
	} else if s.rules.theirs[id] && (a.isRefusal() || a.Status == 200 && s.sameKind(st, a)) {
		return StepResult{Outcome: Theirs, Got: statusText(a.Status)}
	}
	if len(diffs) == 0 {
		return r
	}
	r.Undeclared, r.Declared = s.declare(id, diffs)
	switch {
	case len(r.Undeclared) == 0:
		r.Outcome = OnPurpose
	case lenient != "" && a.Status != 0 && a.Status < 500:
		r.Outcome, r.Note = Lenient, lenient
	case s.outside(id, st, a) != "":
		return StepResult{Outcome: Theirs, Note: s.outside(id, st, a), Got: statusText(a.Status)}
	default:
		r.Outcome = Failed
		r.Want, _ = s.vars.expand(st.Answer.text(), nil)
		r.Got = a.text()
		r.Curl = m.curl(s.base, st)
	}
	return r
}

// outside tells why a is not OpenHands' own answer, on a server that the run did not start; "" if it is.
func (s *scenario) outside(id string, st *Step, a Answer) string {
	if s.owned() {
		return ""
	}
	_, operation, _ := conversation(st.Path)
	body, _ := parseJSON(a.Body)
	racy := slices.ContainsFunc(s.c.Racy, func(i int) bool { return strconv.Itoa(i) == id })
	switch {
	case strings.HasPrefix(st.Path, "/mcp/mcp/") && st.Answer.Status == http.StatusUnsupportedMediaType && a.Status == http.StatusBadRequest:
		return "later versions of the package mcp refuse a content type by 400"
	case operation == "submit-feedback" && st.Answer.Status == http.StatusOK && body.str("error") == "Failed to submit feedback":
		return "the server does not reach its feedback service"
	case racy && strings.HasPrefix(operation, "git/") && a.Status == http.StatusInternalServerError:
		return "the runtime failed, as in one recording of two"
	}
	return ""
}

// lenientHeader is in an answer that is more lenient than the recorded server's, and says what that would do.
const lenientHeader = "X-Local-Lenient"

// leniency tells why a may differ because this server is more lenient than the recorded one, "" if nothing of the kind is
// known: it says so, or an earlier answer of the case did, and what was let in there shows in the later ones.
func (s *scenario) leniency(a Answer) string {
	note, says := a.header(lenientHeader)
	if says {
		s.lenient = true
		return note
	}
	if s.lenient {
		return "after a more lenient answer"
	}
	return ""
}

// declare tells the differences that are declared from the others.
func (s *scenario) declare(id string, diffs []Diff) (undeclared []Diff, declared []DeclaredDiff) {
	for _, d := range diffs {
		if x, ok := s.declaredFor(id, d); ok {
			declared = append(declared, DeclaredDiff{d, x})
		} else {
			undeclared = append(undeclared, d)
		}
	}
	return undeclared, declared
}

func (s *scenario) declaredFor(id string, d Diff) (Difference, bool) {
	for _, x := range s.options.Differences {
		if x.Case == s.c.Name && x.Step == id && x.Covers(d) {
			return x, true
		}
	}
	return Difference{}, false
}

// refusals are the statuses that stand for a client's mistake which the real server answered with 500.
var refusals = []int{400, 401, 403, 404, 409, 413, 415, 422}

// isRefusal tells a 4xx that names a client's mistake, as a JSON object (which an answer to HEAD cannot show).
func (a Answer) isRefusal() bool {
	if !slices.Contains(refusals, a.Status) {
		return false
	}
	if t, _ := a.header("Content-Type"); t != "application/json" {
		return false
	}
	body, err := parseJSON(a.Body)
	return len(a.Body) == 0 || err == nil && body.kind == '{'
}

func (s *scenario) sameKind(st *Step, a Answer) bool {
	if st.Answer.Status != 200 {
		return true
	}
	want, err := parseJSON(st.Answer.Body)
	if err != nil {
		return false
	}
	got, err := parseJSON(a.Body)
	return err == nil && want.kind == got.kind
}

// listed is the view of what is not the case's alone: files, which have no order, and, on a server that the run did not
// start, entries among other people's and settings that were there before.
func (s *scenario) listed(st *Step) view {
	if st.Method != "GET" || st.Answer.Status != 200 {
		return view{}
	}
	if _, operation, _ := conversation(st.Path); operation == "list-files" {
		return view{unordered: true}
	}
	if s.owned() {
		return view{}
	}
	if s.c.Line == AgentServer {
		return s.agentServerListed(st)
	}
	switch {
	case st.lists():
		return view{list: "/results", ignore: []string{"/next_page_id"}, own: func(v value) bool {
			id := v.str("conversation_id")
			return strings.HasPrefix(id, "{{") || s.mine[url.PathEscape(id)]
		}}
	case st.Path == "/api/secrets":
		names := map[string]bool{}
		s.c.each(func(_ string, st *Step) {
			name := st.json().str("name")
			names[name] = deletable(name)
		})
		return view{list: "/custom_secrets", own: func(v value) bool { return names[v.str("name")] }}
	case st.Path == "/api/settings":
		return view{ignore: s.c.keptSettings(st)}
	}
	return view{}
}

// own is a request of the engine itself.
func (s *scenario) own(ctx context.Context, method, target, body string) (Answer, value) {
	m := message{method: method, target: target, body: []byte(body)}
	if body != "" {
		m.headers = append(m.headers, [2]string{"Content-Type", "application/json"})
	}
	if s.key != "" {
		m.headers = append(m.headers, [2]string{keyHeader, s.key})
	}
	a := s.send(ctx, m, nil)
	answer, _ := parseJSON(a.Body)
	return a, answer
}

// settle waits until the conversation is RUNNING and its last event stays the same. Where an agent may think, on a server
// that the run did not start, that is for a while; else two answers that agree are enough: nothing comes by itself but the
// frame every conversation has, which ends with the agent waiting for the user.
func (s *scenario) settle(ctx context.Context, st *Step) {
	name := st.Var
	if name == "" {
		name = "cid"
	}
	id, ok := s.vars[name]
	if !ok {
		s.result.Notes = append(s.result.Notes, "settle: {{"+name+"}} has no value")
		return
	}
	acts := slices.Contains(s.result.Groups, Agent)
	poll, quiet, patience := 20*time.Millisecond, time.Duration(0), 20*time.Second
	switch {
	case s.owned():
		poll, patience = 5*time.Millisecond, 300*time.Millisecond
	case st.Long:
		quiet = 4 * time.Second
	case acts:
		quiet = 1500 * time.Millisecond
	}
	now := s.options.clock.now
	setsBase := st.Base == nil || *st.Base
	begun := now()
	last, since, readable := "", begun, begun
	for now().Sub(begun) < settleTimeout && ctx.Err() == nil {
		_, info := s.own(ctx, http.MethodGet, "/api/conversations/"+url.PathEscape(id), "")
		a, page := s.own(ctx, http.MethodGet, "/api/conversations/"+url.PathEscape(id)+"/events?reverse=true&limit=1", "")
		if a.Status == http.StatusOK {
			readable = now()
		} else if !s.owned() && now().Sub(readable) > unreadable {
			break // as where an event is stored that no answer can hold [add_event_many_keys]
		}
		event, _ := page.at("/events/0")
		newest, _ := event.get("id")
		extras, _ := event.get("extras")
		waiting := st.Any || acts && !setsBase || s.posted["{{"+name+"}}"] ||
			extras.str("agent_state") == "awaiting_user_input" || now().Sub(begun) > patience
		switch {
		case info.str("status") != "RUNNING" || newest.text == "" || newest.text != last:
			last, since = newest.text, now()
		case waiting && now().Sub(since) >= quiet:
			if setsBase {
				s.vars["base"] = last
			}
			return
		}
		if s.owned() && now().Sub(begun) > 10*time.Second {
			break
		}
		s.options.clock.sleep(ctx, poll)
		if !s.owned() {
			poll = min(2*poll, 500*time.Millisecond)
		}
	}
	s.result.Notes = append(s.result.Notes, fmt.Sprintf("settle: conversation {{%s}} did not come to rest", name))
}

// isNobodys tells whether no conversation has this id, on a server that the run did not start. An id that leads out of a
// folder cannot be asked for; it stands only in cases of the group Harm.
func (s *scenario) isNobodys(ctx context.Context, id string) bool {
	if leadsOut(id) {
		return true
	}
	a, body := s.own(ctx, http.MethodGet, "/api/conversations/"+id, "")
	return a.Status == http.StatusNotFound || a.Status == http.StatusOK && body.kind == 'n' ||
		s.options.Line == AgentServer && a.Status == http.StatusUnprocessableEntity
}

// clean deletes what the case made, also when the run is being stopped.
func (s *scenario) clean(ctx context.Context) {
	if s.ground.hung != "" {
		for _, id := range slices.Sorted(maps.Keys(s.mine)) {
			s.remains = append(s.remains, "/api/conversations/"+id+": made, and not deleted, for the server hangs")
		}
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
	defer cancel()
	for _, id := range s.c.orphans() {
		if s.isOrphan(ctx, id) {
			s.remains = append(s.remains, "/api/conversations/"+id+": a folder is left, but no conversation, and no request deletes it")
		}
	}
	for id := range s.fixed { // nobody's when the case began: a lenient server makes a conversation of its first event
		if leadsOut(id) {
			continue
		}
		if a, body := s.own(ctx, http.MethodGet, "/api/conversations/"+id, ""); a.Status == http.StatusOK && body.kind == '{' {
			s.mine[id] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.mine)) {
		s.remove(ctx, "/api/conversations/"+id)
	}
	for _, name := range slices.Sorted(maps.Keys(s.secrets)) {
		s.remove(ctx, "/api/secrets/"+url.PathEscape(name))
	}
}

func (s *scenario) remove(ctx context.Context, path string) {
	if a, _ := s.own(ctx, http.MethodDelete, path, ""); a.Status/100 != 2 && a.Status != http.StatusNotFound {
		s.notDeleted = append(s.notDeleted, path)
	}
}

// note remembers what an answer says was made, so that it is deleted: on a server that the run did not start.
func (s *scenario) note(m message, st *Step, a Answer) {
	if a.Status/100 != 2 {
		return
	}
	for _, id := range s.made(st, a) {
		s.mine[id] = true
	}
	old, changes := strings.CutPrefix(m.target, "/api/secrets/")
	if m.target == "/api/secrets" && st.Method == http.MethodPost || changes && st.Method == http.MethodPut && s.secrets[old] {
		s.secrets[st.json().str("name")] = true
	}
}

func abbreviate(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}
