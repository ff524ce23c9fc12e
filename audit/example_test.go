package audit_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"log"
	"os"

	"lumen/audit"
	"lumen/internal/durable"
)

func Example() {
	ctx := context.Background()
	fsys := durable.NewMem(0) // durable.OS() in earnest
	key, _, err := audit.LoadOrGenerateKey(fsys, "/journal.key", "clinic.example/default")
	if err != nil {
		log.Fatal(err)
	}
	journal, err := audit.Open(ctx, audit.Config{
		FS: fsys, Dir: "/audit/default", Key: key,
		Token: func(kind, value string) audit.Token {
			h := hmac.New(sha256.New, []byte("a secret key"))
			h.Write([]byte(kind + "\x00" + value))
			return audit.Token(h.Sum(nil))
		},
		SegmentSize: 64 << 10,
	})
	if err != nil {
		log.Fatal(err)
	}
	journal.Post(audit.Record{Code: audit.AssociationAccepted, Actor: "TOWER1"})
	next, err := journal.Append(ctx, audit.Record{Code: audit.Stored, Actor: "TOWER1", Patient: "4711", Instances: 1})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(next, "records are durable")
	if err := journal.Close(ctx); err != nil {
		log.Fatal(err)
	}

	report, err := audit.Verify(ctx, fsys, "/audit/default", key.Public())
	fmt.Println(report.Records, "records verified:", err)

	r, err := audit.OpenReader(ctx, fsys, "/audit/default")
	if err != nil {
		log.Fatal(err)
	}
	proof, err := r.Prove(ctx, 1)
	if err != nil {
		log.Fatal(err)
	}
	leaf, err := proof.Verify(key.Public())
	fmt.Fprintln(os.Stdout, leaf.Code, "is proved:", err)
	// Output:
	// 2 records are durable
	// 2 records verified: <nil>
	// 110104/stored is proved: <nil>
}
