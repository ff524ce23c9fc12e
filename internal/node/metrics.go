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

// watchJournal shows how a journal is. Package audit knows no metrics.
func watchJournal(r prometheus.Registerer, name string, log *audit.Log) error {
	gauge := func(metric, help string, value func() float64) error {
		return r.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: metric, Help: help, ConstLabels: prometheus.Labels{"journal": name},
		}, value))
	}
	for _, g := range []struct {
		metric, help string
		value        func() float64
	}{
		{"lumen_audit_records", "Durable records of the journal.", func() float64 { return float64(log.Size()) }},
		{"lumen_audit_reserve_segments", "Segments that are allocated ahead.", func() float64 { return float64(log.Reserve()) }},
		{"lumen_audit_can_append", "1 while the journal can append; at 0 nothing is served.", func() float64 {
			if log.Err() != nil {
				return 0
			}
			return 1
		}},
	} {
		if err := gauge(g.metric, g.help, g.value); err != nil {
			return err
		}
	}
	return nil
}

// watchWriteLog shows what waits in the write log to become files. Package stage
// knows no metrics.
func watchWriteLog(r prometheus.Registerer, staged func() (objects int, size int64)) error {
	gauge := func(metric, help string, value func() float64) error {
		return r.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: metric, Help: help}, value))
	}
	return errors.Join(
		gauge("lumen_stage_objects", "Objects in the write log.", func() float64 { n, _ := staged(); return float64(n) }),
		gauge("lumen_stage_bytes", "Bytes of the objects in the write log.", func() float64 { _, n := staged(); return float64(n) }),
	)
}
