package wado

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are labelled by route template and status only: both are bounded.
type metrics struct {
	duration  *prometheus.HistogramVec // seconds from the request line to the last byte
	sent      *prometheus.CounterVec   // bytes of response bodies
	received  prometheus.Counter       // bytes of STOW-RS bodies
	stored    *prometheus.CounterVec   // STOW-RS parts by outcome
	inFlight  prometheus.Gauge
	panics    prometheus.Counter
	truncated prometheus.Counter // answers cut off after their first byte
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "lumen_wado_request_duration_seconds",
			Help:    "Time from a DICOMweb request to the last byte of its answer, by route and status (499: the client left).",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 120},
		}, []string{"route", "status"}),
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lumen_wado_sent_bytes_total",
			Help: "Bytes of DICOMweb response bodies, by route.",
		}, []string{"route"}),
		received: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "lumen_wado_received_bytes_total",
			Help: "Bytes of STOW-RS request bodies.",
		}),
		stored: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lumen_wado_stored_instances_total",
			Help: "Instances received by STOW-RS, by outcome.",
		}, []string{"outcome"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "lumen_wado_in_flight_requests",
			Help: "DICOMweb requests being answered now.",
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "lumen_wado_panics_total",
			Help: "DICOMweb requests that ended in a panic.",
		}),
		truncated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "lumen_wado_truncated_responses_total",
			Help: "Answers cut off by an error of ours after their first byte.",
		}),
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.duration, m.sent, m.received, m.stored, m.inFlight, m.panics, m.truncated} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) observe(route string, status int, sent int64, took time.Duration) {
	m.duration.WithLabelValues(route, strconv.Itoa(status)).Observe(took.Seconds())
	m.sent.WithLabelValues(route).Add(float64(sent))
}
