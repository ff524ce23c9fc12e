package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// checkReport is the part of store.CheckReport that is printed.
type checkReport struct {
	Instances, Quarantined, Unadopted, Others int
	Bytes                                     int64
	Problems                                  []struct{ Object, What string }
	Count                                     int
}

func check(ctx context.Context, args []string) error {
	o := newOptions("check")
	quick := o.Bool("quick", false, "open every object, but do not read all of it")
	cfg, err := o.parse(args)
	if err != nil {
		return err
	}
	var report checkReport
	err = ask(ctx, cfg, "POST", fmt.Sprintf("/check?quick=%t", *quick), func(r io.Reader) error {
		return json.NewDecoder(r).Decode(&report)
	})
	if err != nil {
		return err
	}
	for _, p := range report.Problems {
		fmt.Printf("%s: %s\n", p.Object, p.What)
	}
	fmt.Printf("%d instances, %d bytes read; %d objects in quarantine, %d not adopted yet, %d others\n",
		report.Instances, report.Bytes, report.Quarantined, report.Unadopted, report.Others)
	switch report.Count {
	case 0:
		fmt.Println("no problems")
		return nil
	case 1:
		return errors.New("1 problem")
	}
	return fmt.Errorf("%d problems", report.Count)
}
