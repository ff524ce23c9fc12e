package index

import "github.com/prometheus/client_golang/prometheus"

// register makes the counts of the index metrics.
func (db *DB) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	for _, m := range []struct {
		name, help string
		value      func() float64
	}{
		{"lumen_index_pending_rows", "Rows that are queued and not durable in the index yet.", func() float64 { return float64(db.queue.length()) }},
		{"lumen_index_studies", "Studies in the index.", func() float64 { return float64(db.Stats().Studies) }},
		{"lumen_index_series", "Series in the index.", func() float64 { return float64(db.Stats().Series) }},
		{"lumen_index_instances", "Instances in the index.", func() float64 { return float64(db.Stats().Instances) }},
		{"lumen_index_stored_bytes", "Bytes of the data sets in the index.", func() float64 { return float64(db.Stats().Bytes) }},
		{"lumen_index_conflicts", "Instances whose patient, study or series attributes differ from those received first.", func() float64 { return float64(db.Stats().Conflicts) }},
	} {
		g := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: m.name, Help: m.help}, m.value)
		if err := r.Register(g); err != nil {
			return err
		}
	}
	return nil
}

// length is the number of rows that are not durable yet.
func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.rows
}
