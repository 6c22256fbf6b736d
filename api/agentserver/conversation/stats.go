package conversation

import (
	"encoding/json"

	"github.com/openhands-local/openhands-local/api/refuse"
)

// A Usage is what one question to a model took.
type Usage struct {
	Prompt, Completion int64 // tokens
	ResponseID         string
}

// tokens are those of one call, or of all.
type tokens struct {
	Model      string `json:"model"`
	Prompt     int64  `json:"prompt_tokens"`
	Completion int64  `json:"completion_tokens"`
	CacheRead  int64  `json:"cache_read_tokens"`
	CacheWrite int64  `json:"cache_write_tokens"`
	Reasoning  int64  `json:"reasoning_tokens"`
	Window     int64  `json:"context_window"`
	PerTurn    int64  `json:"per_turn_token"`
	ResponseID string `json:"response_id"`
}

// A latency is how long a call took: no model is asked here.
type latency struct {
	Model      string          `json:"model"`
	Latency    json.RawMessage `json:"latency"`
	ResponseID string          `json:"response_id"`
}

// metrics are those of one model (recorded run_text_full).
type metrics struct {
	UsageID string   `json:"usage_id"`
	Model   string   `json:"model"`
	All     tokens   `json:"all"`
	Calls   []tokens `json:"calls"`
}

// begin makes the metrics of an agent's models, which are there once it is.
func beginStats(agent json.RawMessage) []metrics {
	type model struct {
		Model   string
		UsageID string `json:"usage_id"`
	}
	var has struct {
		LLM       *model
		Condenser *struct{ LLM *model }
	}
	_ = json.Unmarshal(agent, &has) // it was validated
	var all []metrics
	add := func(m *model) {
		if m != nil {
			all = append(all, metrics{UsageID: m.UsageID, Model: m.Model, All: tokens{Model: m.Model}})
		}
	}
	add(has.LLM)
	if has.Condenser != nil {
		add(has.Condenser.LLM)
	}
	return all
}

// stats are all metrics by usage id; a snapshot has no single calls.
func stats(all []metrics, snapshot bool) json.RawMessage {
	text := []byte(`{"usage_to_metrics":{`)
	for i, m := range all {
		if i > 0 {
			text = append(text, ',')
		}
		name, _ := refuse.Marshal(m.UsageID) // a text
		text = append(append(text, name...), ':')
		head, _ := refuse.Marshal(struct {
			Model  string          `json:"model_name"`
			Cost   json.RawMessage `json:"accumulated_cost"`
			Budget *float64        `json:"max_budget_per_task"`
			All    tokens          `json:"accumulated_token_usage"`
		}{m.Model, json.RawMessage("0.0"), nil, m.All})
		if snapshot {
			text = append(text, head...)
			continue
		}
		latencies, calls := []latency{}, []tokens{}
		for _, c := range m.Calls {
			latencies, calls = append(latencies, latency{c.Model, json.RawMessage("0.0"), c.ResponseID}), append(calls, c)
		}
		rest, _ := refuse.Marshal(struct {
			Costs     []string  `json:"costs"`
			Latencies []latency `json:"response_latencies"`
			Usages    []tokens  `json:"token_usages"`
		}{[]string{}, latencies, calls})
		text = append(append(append(text, head[:len(head)-1]...), ','), rest[1:]...)
	}
	return append(text, "}}"...)
}

// maxCalls is how many calls of a model are told one by one: the state is written
// with each event.
const maxCalls = 100

// spend adds a call to the first model's metrics.
func spend(all []metrics, u Usage) {
	if len(all) == 0 {
		return
	}
	m := &all[0]
	one := tokens{Model: m.Model, Prompt: u.Prompt, Completion: u.Completion, PerTurn: u.Prompt + u.Completion, ResponseID: u.ResponseID}
	m.All.Prompt += u.Prompt
	m.All.Completion += u.Completion
	m.All.PerTurn = one.PerTurn
	if m.Calls = append(m.Calls, one); len(m.Calls) > maxCalls {
		m.Calls = m.Calls[1:]
	}
}
