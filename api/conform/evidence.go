package conform

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// A Kind is what recorded answers have in common.
type Kind struct {
	Call   string // operation of the contract, as the Index was told; "" for none
	Status int
	Detail string // what Detail tells of an answer; "" for any
}

// String is "POST /api/conversations 422 body.initial_user_msg string_type".
func (k Kind) String() string {
	return strings.Join(strings.Fields(fmt.Sprintf("%s %d %s", k.Call, k.Status, k.Detail)), " ")
}

// Recordings are what stands behind a kind of answer.
type Recordings struct {
	Steps   []string // the first ones, at most maxSteps: "add_event_bad_kinds step 3"
	Of      int      // how many there are
	Differs []string // why some of these are declared to differ, but for the status: one of Reasons
	Instead []string // why others, of another status, are declared to be answered with this one: one of Reasons
}

const maxSteps = 3

// An Index finds the recordings behind a kind of answer. It holds their names
// alone.
type Index struct{ kinds map[Kind]*Recordings }

// NewIndex reads all cases. call names the operation of the contract that a
// request asks, from its method and decoded path; "" for none.
func NewIndex(call func(method, path string) string) *Index {
	x := &Index{map[Kind]*Recordings{}}
	declared := Declared()
	V0.eachCase(func(c *Case) {
		only := c.Requests() == 1
		c.each(func(id string, s *Step) {
			path, _, _ := strings.Cut(s.Path, "?")
			if plain, err := url.PathUnescape(path); err == nil {
				path = plain
			}
			asked := call(s.Method, path)
			body, _, err := s.body()
			if err != nil || s.Answer.Status == 0 {
				return
			}
			answered := true // by us, as recorded
			var differs []string
			for _, d := range declared {
				if d.Case != c.Name || d.Step != id && !(d.Step == "" && only) {
					continue
				}
				if d.What != "status" {
					differs = append(differs, d.Reason)
					continue
				}
				answered = false
				for _, status := range reasonStatuses[d.Reason] {
					at := x.at(Kind{asked, status, ""})
					at.Instead = appendNew(at.Instead, d.Reason)
				}
			}
			if !answered {
				return
			}
			kinds := []Kind{{asked, s.Answer.Status, Detail(s.Answer.Status, body, s.Answer.Body)}, {asked, s.Answer.Status, ""}}
			if asked == "" {
				kinds = append(kinds, Kind{s.Method + " " + path, s.Answer.Status, ""})
			}
			for _, k := range slices.Compact(kinds) {
				at := x.at(k)
				at.Of++
				if len(at.Steps) < maxSteps {
					at.Steps = append(at.Steps, fmt.Sprintf("%s step %s", c.Name, id))
				}
				for _, why := range differs {
					at.Differs = appendNew(at.Differs, why)
				}
			}
		})
	})
	return x
}

func (x *Index) at(k Kind) *Recordings {
	if x.kinds[k] == nil {
		x.kinds[k] = &Recordings{}
	}
	return x.kinds[k]
}

func appendNew(list []string, text string) []string {
	if slices.Contains(list, text) {
		return list
	}
	return append(list, text)
}

// Find returns what stands behind a kind of answer, nothing for none. It must not
// be changed.
func (x *Index) Find(k Kind) Recordings {
	if r := x.kinds[k]; r != nil {
		return *r
	}
	return Recordings{}
}

// Detail is what tells answers of one operation and status apart: of a refusal the
// place and type of its first error ("body.args.content missing"), of an event
// that is taken what it is ("action message"); "" for nothing.
func Detail(status int, request, answer []byte) string {
	if status >= 300 {
		var refusal struct {
			Detail []struct {
				Loc  []any
				Type string
			}
		}
		if json.Unmarshal(answer, &refusal) != nil || len(refusal.Detail) == 0 {
			return ""
		}
		first := refusal.Detail[0]
		place := make([]string, len(first.Loc))
		for i, part := range first.Loc {
			place[i] = fmt.Sprint(part)
		}
		return strings.Join(place, ".") + " " + first.Type
	}
	var event struct{ Action, Observation string }
	switch {
	case json.Unmarshal(request, &event) != nil:
		return ""
	case event.Action != "":
		return "action " + event.Action
	case event.Observation != "":
		return "observation " + event.Observation
	}
	return ""
}
