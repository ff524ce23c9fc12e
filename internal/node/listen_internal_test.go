package node

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"

	"lumen/audit"
	"lumen/config"
	"lumen/internal/durable"
)

// Pictures that leave in clear are as much of an alert as those that come so.
func TestADestinationInClearIsAnAlert(t *testing.T) {
	cfg := config.Default()
	cfg.Data = filepath.Join(t.TempDir(), "data")
	cfg.Destinations = []config.Destination{
		{Title: "HERE", Address: "127.0.0.1:104"},
		{Title: "HERE6", Address: "[::1]:104"},
		{Title: "LOCAL", Address: "localhost:104"},
		{Title: "SAFE", Address: "192.0.2.1:2762", TLS: config.DestinationTLS{CA: "ca.pem"}},
		{Title: "CLEAR", Address: "192.0.2.2:104"},
		{Title: "NAMED", Address: "viewer.example:104"},
	}
	folder, err := OpenFolder(durable.OS(), cfg.Data, true)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	n, err := openBase(t.Context(), cfg, folder, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer n.close(context.Background())
	if err := n.alert(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	var alerted []string
	for entry, err := range n.own.log.Replay(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if entry.Leaf.Code != audit.SecurityAlert {
			continue
		}
		e, err := eventOf(entry)
		if err != nil {
			t.Fatal(err)
		}
		alerted = append(alerted, e.Detail["destination"])
	}
	if !slices.Equal(alerted, []string{"CLEAR", "NAMED"}) {
		t.Errorf("alerts for %q", alerted)
	}
}
