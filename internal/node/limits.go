package node

import (
	"time"

	"lumen/config"
	"lumen/dicom"
	"lumen/dimse"
	"lumen/store"
	"lumen/wado"
)

// stallRate is what a peer must move inside a message, in bytes a second.
const stallRate = 1 << 10

func dimseLimits(l config.Limits) dimse.Limits {
	return dimse.Limits{
		AssociatePDU: int(l.AssociatePDU), DataPDU: int(l.DataPDU), AcceptPDU: int(l.AcceptPDU), Command: int(l.CommandSet),
		Object: int64(l.Object), Associations: int(l.Associations), PerPeer: int(l.AssociationsPerPeer), Failures: int(l.FailedConnections),
		ARTIM: time.Duration(l.ARTIM), Idle: time.Duration(l.Idle),
		Stall: time.Duration(l.Stall), StallBytes: max(1, int(time.Duration(l.Stall).Seconds()*stallRate)),
	}
}

func storeLimits(l config.Limits) store.Limits {
	return store.Limits{
		ObjectSize: int64(l.Object), HeaderTotal: int64(l.Headers),
		DICOM: dicom.Limits{
			HeaderBytes: int64(l.Header), Depth: int(l.SequenceDepth), KeptElements: int(l.KeptElements),
			Elements: l.Elements, InflateRatio: l.InflateRatio, InflateHeader: int64(l.InflateHeader),
		},
	}
}

func wadoLimits(l config.Limits) wado.Limits {
	return wado.Limits{
		Matches: int(l.Matches), Parts: int(l.STOWParts), PartHeader: int(l.STOWPartHeader), Stall: time.Duration(l.Stall),
	}
}
