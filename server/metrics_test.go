package server_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/openhands-local/openhands-local/gen"
	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
)

// scrape reads the metrics of a server, by name.
func scrape(t *testing.T, s *servertest.Server) map[string]*dto.MetricFamily {
	t.Helper()
	resp, err := http.Get(s.URL + "/_local/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("GET /_local/metrics answers %s", resp.Status)
	}
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// value is that of a metric: of a histogram how many values it has. Labels are
// written a=b; a metric that is not there is -1.
func value(families map[string]*dto.MetricFamily, name string, labels ...string) float64 {
	f := families["openhands_local_"+name]
	if f == nil {
		return -1
	}
metrics:
	for _, m := range f.Metric {
		text := map[string]bool{}
		for _, l := range m.Label {
			text[l.GetName()+"="+l.GetValue()] = true
		}
		for _, l := range labels {
			if !text[l] {
				continue metrics
			}
		}
		return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	return -1
}

// send sends a request and returns its answer, whose body has been left.
func send(t *testing.T, method, url, body string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

const hello = `{"action":"message","args":{"content":"Hi"}}`

// TestMetrics has each of our metrics move with what it counts.
func TestMetrics(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{Data: t.TempDir(), Version: "v1"})
	for range 3 {
		send(t, "POST", s.URL+"/api/conversations/c/events", hello)
	}
	send(t, "POST", s.URL+"/api/conversations/c/events", `{"action":5}`)
	send(t, "GET", s.URL+"/api/conversations/c/events", "")
	send(t, "GET", s.URL+"/api/conversations/nobody/events", "")
	send(t, "GET", s.URL+"/nowhere/at/all", "")
	send(t, "GET", s.URL+"/_local/nowhere", "")
	send(t, "GET", s.URL+"/_local/info", "")
	var made struct {
		ID string `json:"conversation_id"`
	}
	if err := json.NewDecoder(send(t, "POST", s.URL+"/api/conversations", `{}`).Body).Decode(&made); err != nil {
		t.Fatal(err)
	}
	stream := send(t, "GET", s.URL+"/_local/conversations/c/stream", "")
	if _, err := bufio.NewReader(stream.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	socket := s.URL + "/socket.io/?EIO=4&transport=polling"
	var session struct{ SID string }
	opened := bufio.NewReader(send(t, "GET", socket+"&conversation_id="+made.ID, "").Body)
	if _, err := opened.Discard(1); err != nil { // the packet's type
		t.Fatal(err)
	}
	if err := json.NewDecoder(opened).Decode(&session); err != nil {
		t.Fatal(err)
	}
	for _, packet := range []string{`40`, `42["oh_user_action",{"action":"of a later version"}]`} {
		if resp := send(t, "POST", socket+"&sid="+session.SID, packet); resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", packet, resp.Status)
		}
	}

	want := []struct {
		name   string
		labels []string
		least  float64
		most   float64 // 0: the same
	}{
		{"http_requests_total", []string{"operation=AddEvent", "status=200"}, 3, 0},
		{"http_requests_total", []string{"operation=AddEvent", "status=422"}, 1, 0},
		{"http_requests_total", []string{"operation=SearchEvents", "status=200"}, 1, 0},
		{"http_requests_total", []string{"operation=SearchEvents", "status=404"}, 1, 0},
		{"http_requests_total", []string{"operation=none", "status=404"}, 1, 0},
		{"http_requests_total", []string{"operation=/_local/*", "status=404"}, 1, 0},
		{"http_requests_total", []string{"operation=/_local/info", "status=200"}, 1, 0},
		{"http_requests_total", []string{"operation=/socket.io", "status=200"}, 3, 0},
		{"http_request_duration_seconds", []string{"operation=AddEvent"}, 4, 0},
		{"http_request_duration_seconds", []string{"operation=NewConversation"}, 1, 0},
		{"http_request_duration_seconds", []string{"operation=/socket.io"}, -1, 0},
		{"http_requests_in_flight", nil, 2, 0}, // the stream, and the question
		{"lenient_answers_total", nil, 2, 0},   // c was unknown, and the socket's action is
		{"events_appended_total", nil, 8, 0},   // 3, the first 4 of a conversation with an agent, the socket's
		{"followers", nil, 3, 0},               // the stream, the agent, the socket
		{"sockets", nil, 1, 0},
		{"agent_runs", nil, 1, 0},
		{"worlds", nil, 0, 0},
		{"store_commit_duration_seconds", nil, 5, 30},
		{"store_commit_events", nil, 5, 30},
		{"store_file_bytes", nil, 4096, 1 << 30},
		{"store_free_bytes", nil, 0, 1 << 30},
		{"build_info", []string{"version=v1", "api=" + gen.Version}, 1, 0},
	}
	// What is counted when an answer has ended may come after the answer.
	var families map[string]*dto.MetricFamily
	var wrong []string
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		families, wrong = scrape(t, s), nil
		for _, w := range want {
			if got := value(families, w.name, w.labels...); got < w.least || got > max(w.least, w.most) {
				wrong = append(wrong, strings.Join(append(w.labels, w.name), " "))
				if time.Now().After(deadline) {
					t.Errorf("%s %v = %v, want %v to %v", w.name, w.labels, got, w.least, max(w.least, w.most))
				}
			}
		}
		if len(wrong) == 0 || time.Now().After(deadline) {
			break
		}
	}
	told := map[string]bool{}
	for _, w := range want {
		told["openhands_local_"+w.name] = true
	}
	for name := range families {
		if strings.HasPrefix(name, "openhands_local_") && !told[name] {
			t.Errorf("%s is not in the list of this test", name)
		}
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes"} {
		if families[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}

	stream.Body.Close()
	for deadline := time.Now().Add(10 * time.Second); value(scrape(t, s), "followers") != 2; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("followers = %v after the stream's end, want 2", value(scrape(t, s), "followers"))
		}
	}
	families = scrape(t, s)
	const op = "operation=/_local/conversations/:id/stream"
	if got := value(families, "http_requests_total", op); got != 1 {
		t.Errorf("streams = %v, want 1", got)
	}
	if got := value(families, "http_request_duration_seconds", op); got != -1 {
		t.Errorf("a stream has a duration")
	}
}

// TestMetricsLint asks Prometheus' own linter about names, units and help.
func TestMetricsLint(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{Data: t.TempDir()})
	send(t, "POST", s.URL+"/api/conversations/c/events", hello)
	problems, err := promlint.New(send(t, "GET", s.URL+"/_local/metrics", "").Body).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestMetricsMemory: a store in memory has no file and no commits.
func TestMetricsMemory(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{})
	send(t, "POST", s.URL+"/api/conversations/c/events", hello)
	families := scrape(t, s)
	if got := value(families, "events_appended_total"); got != 1 {
		t.Errorf("events_appended_total = %v, want 1", got)
	}
	for _, name := range []string{"store_file_bytes", "store_commit_events"} {
		if got := value(families, name); got != -1 {
			t.Errorf("%s = %v, want none", name, got)
		}
	}
}
