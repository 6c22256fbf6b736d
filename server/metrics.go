package server

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/gen"
	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/boltstore"
)

// metricPrefix begins the names of all metrics that are ours. Those of the Go
// runtime and of the process have the names that every Go program gives them.
const metricPrefix = "openhands_local_"

// metrics are what GET /_local/metrics tells, in the text format of
// Prometheus. Each server has its own: none is global. Times are in seconds,
// sizes in bytes.
type metrics struct {
	registry *prometheus.Registry

	requests *prometheus.CounterVec   // by operation and status
	took     *prometheus.HistogramVec // by operation
	inFlight prometheus.Gauge
	lenient  prometheus.Counter

	appended   prometheus.Counter
	commitTook prometheus.Histogram
	commitSize prometheus.Histogram
}

func newMetrics(version string) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: metricPrefix + "http_requests_total",
			Help: "Requests that were answered. operation is none for those that reached none.",
		}, []string{"operation", "status"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    metricPrefix + "http_request_duration_seconds",
			Help:    "Time from a request's header to the end of its answer, but for sockets, streams, profiles, and requests that the rate limit holds back.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"operation"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: metricPrefix + "http_requests_in_flight",
			Help: "Requests that are being answered, streams and sockets too.",
		}),
		lenient: prometheus.NewCounter(prometheus.CounterOpts{
			Name: metricPrefix + "lenient_answers_total",
			Help: "What OpenHands " + gen.Version + " would have refused: requests and events of sockets.",
		}),
		appended: prometheus.NewCounter(prometheus.CounterOpts{
			Name: metricPrefix + "events_appended_total",
			Help: "Events that were stored one by one, whoever sent them; imports are not counted.",
		}),
		commitTook: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    metricPrefix + "store_commit_duration_seconds",
			Help:    "Time to write a commit and to sync it to the disk.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1},
		}),
		commitSize: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    metricPrefix + "store_commit_events",
			Help:    "Events in one commit; 0 when it changed something else.",
			Buckets: []float64{0, 1, 2, 4, 8, 16, 32, 64, 128, 256},
		}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        metricPrefix + "build_info",
		Help:        "1; its labels tell the program's version and the API's.",
		ConstLabels: prometheus.Labels{"version": version, "api": gen.Version},
	})
	info.Set(1)
	m.registry.MustRegister(m.requests, m.took, m.inFlight, m.lenient, m.appended, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// gauge adds a number that is asked for when the metrics are.
func (m *metrics) gauge(name, help string, value func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: metricPrefix + name, Help: help},
		func() float64 { return float64(value()) }))
}

// committed is boltstore's Options.Committed.
func (m *metrics) committed(events int, took time.Duration) {
	m.commitTook.Observe(took.Seconds())
	m.commitSize.Observe(float64(events))
}

// commits adds what is told of a store that commits.
func (m *metrics) commits() { m.registry.MustRegister(m.commitTook, m.commitSize) }

// file adds what is told of a store in a file.
func (m *metrics) file(s *boltstore.Store) {
	m.commits()
	m.gauge("store_file_bytes", "Size of the store's file.", func() int { file, _ := s.Size(); return int(file) })
	m.gauge("store_free_bytes", "Part of the store's file that is free for what is written next.", func() int { _, free := s.Size(); return int(free) })
}

// handler serves the metrics.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// observe notes an exchange. One that waits says nothing by the time it took.
func (m *metrics) observe(x *exchange.Exchange) {
	if len(x.Lenient) > 0 {
		m.lenient.Inc()
	}
	if x.Transport != exchange.HTTP {
		return
	}
	operation := cmp.Or(x.Operation, "none")
	m.requests.WithLabelValues(operation, strconv.Itoa(x.Status)).Inc()
	if x.Waits == "" {
		m.took.WithLabelValues(operation).Observe(x.Duration.Seconds())
	}
}

// counted is a store of any technology whose appends are counted.
type counted struct {
	store.Store
	m *metrics
}

// Append implements [store.Store].
func (c counted) Append(ctx context.Context, conversation string, e store.NewEvent) (id int64, repeated bool, err error) {
	id, repeated, err = c.Store.Append(ctx, conversation, e)
	if err == nil && !repeated {
		c.m.appended.Inc()
	}
	return id, repeated, err
}
