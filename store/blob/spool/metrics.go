package spool

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics of a spool. The gauges read its books when they are asked.
type metrics struct {
	registerer prometheus.Registerer
	collectors []prometheus.Collector

	uploads  prometheus.Histogram
	bytes    prometheus.Counter
	failures prometheus.Counter
	refused  prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer, s *Spool) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	gauge := func(name, help string, read func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return read()
		})
	}
	m := &metrics{
		registerer: registerer,
		uploads: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "lumen_spool_upload_seconds",
			Help: "Time of successful uploads, verification included.", Buckets: prometheus.ExponentialBuckets(0.01, 2, 14)}),
		bytes:    counter("lumen_spool_uploaded_bytes_total", "Bytes uploaded and verified."),
		failures: counter("lumen_spool_upload_failures_total", "Uploads that failed and will be tried again."),
		refused:  counter("lumen_spool_refused_total", "Objects refused because the spool was full."),
	}
	m.collectors = []prometheus.Collector{m.uploads, m.bytes, m.failures, m.refused,
		gauge("lumen_spool_pending_objects", "Objects that only the local disk has.", func() float64 {
			return float64(len(s.objects) - s.done.Len())
		}),
		gauge("lumen_spool_pending_bytes", "Bytes that only the local disk has, or that are being received.", func() float64 {
			return float64(s.pending)
		}),
		gauge("lumen_spool_copies_bytes", "Bytes kept locally though the remote has them.", func() float64 {
			return float64(s.kept)
		}),
		gauge("lumen_spool_oldest_pending_seconds", "Age of the object that waits at the head of the queue; 0 without one.", func() float64 {
			first := s.queue.Front()
			if first == nil {
				return 0
			}
			return s.cfg.Clock.Now().Sub(first.Value.(*object).since).Seconds()
		}),
		gauge("lumen_spool_high_water_bytes", "Pending bytes at which objects are refused.", func() float64 {
			return float64(s.cfg.HighWater)
		}),
	}
	if registerer == nil {
		return m, nil
	}
	for i, c := range m.collectors {
		if err := registerer.Register(c); err != nil {
			m.collectors = m.collectors[:i]
			m.unregister()
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) unregister() {
	if m.registerer == nil {
		return
	}
	for _, c := range m.collectors {
		m.registerer.Unregister(c)
	}
}
