package scp

import (
	"github.com/prometheus/client_golang/prometheus"

	"lumen/dimse"
)

// metrics of the DIMSE services. Labels are operations, classes of status and
// outcomes: never a title or a UID.
type metrics struct {
	associations prometheus.Gauge
	outcomes     *prometheus.CounterVec   // outcome
	seconds      *prometheus.HistogramVec // operation, status class
	bytes        *prometheus.CounterVec   // operation
	moved        *prometheus.CounterVec   // sub-operations by outcome
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		associations: prometheus.NewGauge(prometheus.GaugeOpts{Name: "lumen_scp_associations",
			Help: "Associations that are open."}),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lumen_scp_association_events_total",
			Help: "Associations accepted, rejected, released and aborted, and connections refused unread."}, []string{"outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "lumen_scp_operation_seconds",
			Help:    "Time from a request to its final response.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 18)}, []string{"operation", "status"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lumen_scp_data_bytes_total",
			Help: "Bytes of data sets received by C-STORE, sent by C-FIND and C-GET on the association of the request."},
			[]string{"operation"}),
		moved: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lumen_scp_suboperations_total",
			Help: "C-STORE sub-operations of C-MOVE and C-GET by outcome."}, []string{"outcome"}),
	}
	if r != nil {
		r.MustRegister(m.associations, m.outcomes, m.seconds, m.bytes, m.moved)
	}
	return m
}

func (m *metrics) message(d dimse.Message) {
	m.seconds.WithLabelValues(d.Operation, string(d.Status.Class())).Observe(d.Duration.Seconds())
	m.bytes.WithLabelValues(d.Operation).Add(float64(d.Bytes))
}
