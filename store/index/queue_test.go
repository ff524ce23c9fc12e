package index

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"lumen/store"
)

func pendingRows(n int) []pending {
	rows := make([]pending, n)
	for i := range rows {
		rows[i] = pending{row: &store.Row{}, tokens: path{study: token{1}, instance: token{byte(i), byte(i >> 8)}}}
	}
	return rows
}

func TestQueueKeepsWhatCouldNotBeWritten(t *testing.T) {
	var q queue
	q.init()
	if err := q.add(t.Context(), job{rows: pendingRows(2), covered: 5}); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		q.progress = make(chan struct{})
		cause := errors.New("disk full")
		result := make(chan error)
		go func() { result <- q.wait(t.Context()) }()
		synctest.Wait()
		q.finish(1, cause)
		if err := <-result; !errors.Is(err, cause) {
			t.Errorf("waiting returned %v", err)
		}
		if _, ok := q.pendingRow(token{1}); !ok {
			t.Error("a row that was not written is gone")
		}
		jobs, _ := q.take()
		if len(jobs) != 1 || jobs[0].covered != 5 {
			t.Fatalf("%d jobs to try again", len(jobs))
		}
		go func() { result <- q.wait(t.Context()) }()
		synctest.Wait()
		q.finish(1, nil)
		if err := <-result; err != nil {
			t.Errorf("waiting returned %v after all was written", err)
		}
		if _, ok := q.pendingRow(token{1}); ok {
			t.Error("a row that was written is still pending")
		}
		if _, ok := q.pendingHandle(token{1}); ok {
			t.Error("the handle of a written study is still pending")
		}
	})
}

func TestQueueMakesPutWaitForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q queue
		q.init()
		if err := q.add(t.Context(), job{rows: pendingRows(queueRows)}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error)
		go func() { result <- q.add(ctx, job{rows: pendingRows(1)}) }()
		synctest.Wait()
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("a full queue returned %v", err)
		}
		go func() { result <- q.add(t.Context(), job{rows: pendingRows(1)}) }()
		synctest.Wait()
		q.finish(1, nil)
		if err := <-result; err != nil {
			t.Error(err)
		}
		q.close()
		if err := q.add(t.Context(), job{}); !errors.Is(err, store.ErrClosed) {
			t.Errorf("a closed queue returned %v", err)
		}
	})
}
