package page

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/server/faults"
)

// A rule is one with its parts as JSON.
type rule struct {
	faults.Report
	Matches, Does string
}

func ruleOf(f faults.Report) rule { return rule{f, compact(f.Match), compact(f.Do)} }

func compact(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err.Error()
	}
	return strings.TrimSpace(b.String())
}

func (p *Page) faults(w http.ResponseWriter, r *http.Request) error {
	return p.showFaults(w, http.StatusOK, "", nil)
}

// showFaults shows the rules, and what is wrong with one that somebody wrote.
func (p *Page) showFaults(w http.ResponseWriter, status int, written string, wrong []string) error {
	v := struct {
		Rules   []rule
		Presets []faults.Preset
		Written string
		Wrong   []string
	}{nil, faults.Presets, written, wrong}
	for _, f := range p.Faults.List() {
		v.Rules = append(v.Rules, ruleOf(f))
	}
	return p.show(w, status, "faults", view{Title: "Faults", Section: "faults", Content: v})
}

// changeFaults adds a rule or a preset, or takes rules out.
func (p *Page) changeFaults(w http.ResponseWriter, r *http.Request) error {
	do, err := known(r, "do", "add", "preset", "delete", "clear")
	if err != nil {
		return err
	}
	switch do {
	case "add":
		// A browser sends line ends as CR LF.
		text := strings.ReplaceAll(r.PostFormValue("rule"), "\r\n", "\n")
		v, err := faults.DecodeJSON([]byte(text))
		if err == nil {
			_, err = p.Faults.AddJSON(v)
		}
		if invalid := (*fastapi.Invalid)(nil); errors.As(err, &invalid) {
			return p.showFaults(w, http.StatusUnprocessableEntity, text, reasons(invalid))
		}
		if err != nil {
			return err
		}
	case "preset":
		if err := p.Faults.Add(faults.Rule{Preset: r.PostFormValue("name")}); err != nil {
			return err
		}
	case "delete":
		if name := r.PostFormValue("name"); !p.Faults.Delete(name) {
			return &failure{http.StatusNotFound, fmt.Sprintf("There is no rule %q.", name)}
		}
	case "clear":
		p.Faults.Clear()
	}
	return seeOther(w, r, Prefix+"faults")
}

// liveFaults looks twice a second: a rule that is used tells nobody.
func (p *Page) liveFaults(w http.ResponseWriter, r *http.Request) error {
	shown := map[string]string{}
	return p.live(w, r, every(time.Second/2), func(s *stream) error {
		now := map[string]string{}
		for _, f := range p.Faults.List() {
			now[f.Name] = compact(f)
			if now[f.Name] != shown[f.Name] {
				if err := s.put("fault-row", ruleOf(f)); err != nil {
					return err
				}
			}
		}
		for name := range shown {
			if now[name] == "" {
				if err := s.gone("f-" + name); err != nil {
					return err
				}
			}
		}
		shown = now
		return nil
	})
}
