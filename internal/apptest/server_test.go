package apptest_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/apptest"
)

// Clients that make a connection for each request are answered or refused, and never cut off.
func TestEndCutsNobodyOff(t *testing.T) {
	app, err := apptest.Start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		fmt.Fprint(w, len(text))
	}))
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		var clients sync.WaitGroup
		var served atomic.Int64
		for range 4 {
			clients.Go(func() {
				client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
				for {
					answer, err := client.Post("http://"+app.Address(), "", nil)
					if err != nil {
						if !errors.Is(err, syscall.ECONNREFUSED) {
							t.Error(err)
						}
						return
					}
					_, _ = io.Copy(io.Discard, answer.Body)
					_ = answer.Body.Close()
					served.Add(1)
				}
			})
		}
		for deadline := time.Now().Add(10 * time.Second); served.Load() < 50 && time.Now().Before(deadline); {
			runtime.Gosched()
		}
		if err := app.End(t.Context()); err != nil {
			t.Fatal(err)
		}
		clients.Wait()
		if err := app.Again(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	if err := app.Close(); err != nil {
		t.Error(err)
	}
}
