package migration

import (
	"fmt"
	"slices"
	"strings"
)

// Hint says in a line of ASCII what a request for an unknown path probably meant,
// or "" when that is not to be told: a call of a line of V1, and what does the
// same here; a path that is here, for other methods; a call of V0 that is newer;
// the nearest one of what is served. methods are those that the path takes, nil
// for an unknown path. No part of the path that was asked for is in the hint.
func Hint(method, path string, methods, served []string) string {
	asked := split(path)
	if len(asked) == 0 || len(asked) > maxSegments || len(path) > maxPath {
		return ""
	}
	for _, line := range []*Line{AgentServer, AppServer} {
		if call := find(line.calls, method, asked); call != "" {
			return fmt.Sprintf("%s is a call of the %s (V1, %s): %s. %s", call, line.Name, line.Version, line.Where, instead(call, served))
		}
	}
	if len(methods) > 0 {
		return fmt.Sprintf("this path takes %s", strings.Join(methods, ", "))
	}
	for call, version := range later {
		if find([]string{call}, method, asked) != "" {
			return fmt.Sprintf("%s came with OpenHands %s, and is not in this contract", call, version)
		}
	}
	best, least := "", tooFar
	for _, calls := range [][]string{served, AgentServer.calls, AppServer.calls} {
		for _, call := range calls {
			m, template, _ := strings.Cut(call, " ")
			d := 2 * distance(asked, split(template))
			if m != method {
				d++
			}
			if d < least {
				best, least = call, d
			}
		}
	}
	switch line := lineOf(best); {
	case best == "":
		return ""
	case slices.Contains(served, best):
		return "did you mean " + best + "?"
	default:
		return fmt.Sprintf("did you mean %s of the %s (V1, %s)? %s. %s", best, line.Name, line.Version, line.Where, instead(best, served))
	}
}

const (
	maxPath     = 1 << 10
	maxSegments = 16
	tooFar      = 2*2 + 2 // twice the distance of two slips, and another method
)

// instead says what does here what a call of V1 does.
func instead(call string, served []string) string {
	here := slices.DeleteFunc(predecessors(call), func(c string) bool { return c != SocketIO && !slices.Contains(served, c) })
	if len(here) == 0 {
		return "Nothing here replaces it."
	}
	return "Here: " + strings.Join(here, " or ")
}

func lineOf(call string) *Line {
	if slices.Contains(AppServer.calls, call) && !slices.Contains(AgentServer.calls, call) {
		return AppServer
	}
	return AgentServer
}

// Match finds the call of V0 that a request asks, "" for none, whatever contract is
// served. What clients of Socket.IO post is of the call that opens their
// connection.
func Match(method, path string) string {
	if socket := find([]string{SocketIO}, "GET", split(path)); socket != "" {
		return socket
	}
	return find(Calls(), method, split(path))
}

// Match finds the call of a line that a request asks, "" for none.
func (l *Line) Match(method, path string) string { return find(l.calls, method, split(path)) }

// find prefers the call with fewer parameters.
func find(calls []string, method string, asked []string) (found string) {
	for _, call := range calls {
		m, template, _ := strings.Cut(call, " ")
		if m == method && fits(asked, split(template)) && (found == "" || strings.Count(call, "{") < strings.Count(found, "{")) {
			found = call
		}
	}
	return found
}

func split(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// spanning is a parameter that takes all segments that are left.
const spanning = "{file_path}"

func isParameter(segment string) bool { return strings.HasPrefix(segment, "{") }

func fits(asked, template []string) bool {
	for i, t := range template {
		switch {
		case i >= len(asked):
			return false
		case t == spanning:
			return true
		case t != asked[i] && !isParameter(t):
			return false
		}
	}
	return len(asked) == len(template)
}

// distance counts the slips between a path and a template: a segment with a slip
// of the pen, /api that is missing or there twice. What differs in more is far.
func distance(asked, template []string) int {
	slips := 0
	switch {
	case len(template) == 0:
		return tooFar
	case len(asked) == len(template)-1 && template[0] == "api":
		template, slips = template[1:], 1
	case len(asked) == len(template)+1 && asked[0] == "api" && (template[0] == "api" || asked[1] == template[0]):
		asked, slips = asked[1:], 1
	case len(asked) != len(template):
		return tooFar
	}
	for i, t := range template {
		switch {
		case isParameter(t) || t == asked[i]:
		case near(asked[i], t):
			slips++
		default:
			return tooFar
		}
	}
	return slips
}

// near tells a word that is another with a slip, one in three letters.
func near(word, want string) bool {
	return edits(strings.ToLower(word), strings.ToLower(want)) <= max(1, len(want)/3)
}

// edits is the number of letters to put in, take out or replace (Levenshtein).
func edits(a, b string) int {
	costs := make([]int, len(b)+1)
	for j := range costs {
		costs[j] = j
	}
	for i := range len(a) {
		last := costs[0]
		costs[0] = i + 1
		for j := range len(b) {
			replace := last
			if a[i] != b[j] {
				replace++
			}
			last = costs[j+1]
			costs[j+1] = min(replace, costs[j]+1, last+1)
		}
	}
	return costs[len(b)]
}
