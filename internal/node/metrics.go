package node

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"lumen/audit"
)

// newRegistry makes the node's own registry: nothing that a library registers
// globally gets out.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewBuildInfoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// gauge registers a metric that is asked for its value.
func gauge(r prometheus.Registerer, metric, help string, labels prometheus.Labels, value func() float64) error {
	return r.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: metric, Help: help, ConstLabels: labels}, value))
}

// watchJournal shows how a journal is. Package audit knows no metrics.
func watchJournal(r prometheus.Registerer, name string, log *audit.Log) error {
	labels := prometheus.Labels{"journal": name}
	return errors.Join(
		gauge(r, "lumen_audit_records", "Durable records of the journal.", labels, func() float64 { return float64(log.Size()) }),
		gauge(r, "lumen_audit_reserve_segments", "Segments that are allocated ahead.", labels, func() float64 { return float64(log.Reserve()) }),
		gauge(r, "lumen_audit_can_append", "1 while the journal can append; at 0 nothing is served.", labels, func() float64 {
			if log.Err() != nil {
				return 0
			}
			return 1
		}),
	)
}

// watchWriteLog shows what waits in the write log to become files. Package stage
// knows no metrics.
func watchWriteLog(r prometheus.Registerer, staged func() (objects int, size int64)) error {
	return errors.Join(
		gauge(r, "lumen_stage_objects", "Objects in the write log.", nil, func() float64 { n, _ := staged(); return float64(n) }),
		gauge(r, "lumen_stage_bytes", "Bytes of the objects in the write log.", nil, func() float64 { _, n := staged(); return float64(n) }),
	)
}
