package store

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lumen/dicom"
)

// metrics are what operators see of the archive. No label comes from the wire.
type metrics struct {
	outcomes    *prometheus.CounterVec // ingests by outcome
	refused     *prometheus.CounterVec // ingests by why not
	ingestTime  prometheus.Histogram   //
	ingestBytes prometheus.Counter     //
	findings    *prometheus.CounterVec // tolerated deviations
	searches    prometheus.Counter     //
	retrievals  prometheus.Counter     //
	sentObjects prometheus.Counter     //
	sentFrames  prometheus.Counter     //
	sentBytes   prometheus.Counter     //
	denied      prometheus.Counter     //
	replayed    prometheus.Counter     // rows from the journal at start
	recovered   prometheus.Counter     // blobs adopted
	swept       prometheus.Counter     //
	missing     prometheus.Counter     // journaled blobs that are not there
	cut         prometheus.Counter     // headers that memory was short for
	freeSpace   prometheus.Gauge       //
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "lumen_store_" + name, Help: help})
	}
	vec := func(name, label, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lumen_store_" + name, Help: help}, []string{label})
	}
	m := &metrics{
		outcomes: vec("ingested_total", "outcome", "Instances acknowledged, by what became of them."),
		refused:  vec("refused_total", "reason", "Instances not taken, by reason."),
		ingestTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "lumen_store_ingest_seconds",
			Help:    "Time from the first byte of an instance until it was durable.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 18),
		}),
		ingestBytes: counter("ingested_bytes_total", "Bytes of the data sets acknowledged."),
		findings:    vec("findings_total", "kind", "Deviations from the standard that were tolerated in stored data sets."),
		searches:    counter("searches_total", "Searches answered."),
		retrievals:  counter("retrievals_total", "Retrievals opened."),
		sentObjects: counter("sent_instances_total", "Instances of which something left."),
		sentFrames:  counter("sent_frames_total", "Single frames that left."),
		sentBytes:   counter("sent_bytes_total", "Bytes of data sets and frames that left."),
		denied:      counter("denied_total", "Requests without the right to them."),
		replayed:    counter("replayed_total", "Rows made from the journal at start."),
		recovered:   counter("recovered_total", "Blobs that a crash left behind and that were adopted."),
		swept:       counter("swept_total", "Unreadable blobs without a row, and keys of studies that hold nothing, that were removed."),
		missing:     counter("missing_total", "Instances in the journal whose blob is not there or damaged."),
		cut:         counter("headers_cut_total", "Instances indexed from a part of their large header, because memory for headers was short."),
		freeSpace: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "lumen_store_free_bytes", Help: "Free space where blobs are written, when last asked.",
		}),
	}
	for _, o := range [...]IngestOutcome{Stored, Duplicate, Quarantined} {
		m.outcomes.WithLabelValues(o.String())
	}
	if reg != nil {
		reg.MustRegister(m.outcomes, m.refused, m.ingestTime, m.ingestBytes, m.findings, m.searches, m.retrievals, m.sentObjects,
			m.sentFrames, m.sentBytes, m.denied, m.replayed, m.recovered, m.swept, m.missing, m.cut, m.freeSpace)
	}
	return m
}

// ingested counts one ingest.
func (m *metrics) ingested(r Receipt, err error, took time.Duration) {
	if err != nil {
		m.refused.WithLabelValues(refusalOf(err)).Inc()
		return
	}
	m.outcomes.WithLabelValues(r.Outcome.String()).Inc()
	m.ingestTime.Observe(took.Seconds())
	m.ingestBytes.Add(float64(r.Size))
	if r.Findings.Any() {
		m.found(r)
	}
}

func (m *metrics) found(r Receipt) {
	for kind, n := range r.Findings {
		if n > 0 {
			m.findings.WithLabelValues(dicom.Finding(kind).String()).Add(float64(n))
		}
	}
}

// sent counts what left with one retrieval.
func (m *metrics) sent(c Counts) {
	m.sentObjects.Add(float64(c.Instances))
	m.sentFrames.Add(float64(c.Frames))
	m.sentBytes.Add(float64(c.Bytes))
}

func (m *metrics) free(bytes int64) { m.freeSpace.Set(float64(bytes)) }
