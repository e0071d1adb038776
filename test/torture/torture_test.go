package main

import (
	"os"
	"testing"
)

// TestTorture runs the short form of every row: nothing is lost, goes back or rises again. A row that fails here runs alone, and longer,
// with `go run ./test/torture -run ROW/MODE`.
func TestTorture(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts real processes and lets them suffer for most of a minute")
	}
	if err := installed(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	programs, err := build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const seed = 1
	for _, r := range rows {
		if r.plan.early {
			continue // it builds the standard library again, which takes a minute
		}
		for _, v := range r.variants {
			t.Run(r.name+"/"+v.mode, func(t *testing.T) {
				t.Parallel()
				if why := r.plan.possible(); why != "" {
					if os.Getenv("CI") == "true" {
						t.Fatal(why)
					}
					t.Skip(why)
				}
				res, err := r.run(t.Context(), programs, v, seed, true)
				if err == nil {
					err = r.kept(res)
				}
				if err != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
				if res.requests == 0 {
					t.Error("no request was made")
				}
				t.Logf("%d requests, %d failed, %d 503 %v, %v", res.requests, res.failed, res.unavailable, res.tokens, res.notes)
			})
		}
	}
}
