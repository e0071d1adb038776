package sidecar

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-proxy/pillion/sessioncodec"
)

// L5: a tombstone that is owed to a node is brought there although a touch of the session waits, and although the queue is full.
func TestOwedTombstoneIsNotForgotten(t *testing.T) {
	for _, full := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBackground(func() { t.Error("dropped") })
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			release := make(chan struct{})
			go b.run(ctx)
			for i := range backgroundWorkers {
				b.add([16]byte{byte(i), 1}, func(context.Context) { <-release })
			}
			synctest.Wait()
			touched, brought := false, false
			b.add([16]byte{9}, func(context.Context) { touched = true })
			for i := 0; full && i < backgroundLimit; i++ {
				b.add([16]byte{2, byte(i), byte(i >> 8), byte(i >> 16)}, func(context.Context) {})
			}
			b.again(endJob([16]byte{9}, sessioncodec.Destroyed), func(context.Context) { brought = true })
			time.Sleep(2 * backgroundRetry)
			close(release)
			time.Sleep(2 * backgroundRetry)
			synctest.Wait()
			if !touched || !brought {
				t.Errorf("touched %v, tombstone brought %v", touched, brought)
			}
		})
	}
}

// Each kind of background work on a session has a key of its own: where one waits, another of the same key would be left out.
func TestJobsOfOneSessionAreApart(t *testing.T) {
	seen := map[[16]byte]bool{}
	one := [16]byte{1}
	for _, job := range [][16]byte{
		one, endJob(one, sessioncodec.Superseded), endJob(one, sessioncodec.Destroyed), listJob(one), paceJob(one), willJob(one),
	} {
		if seen[job] {
			t.Errorf("two have the key %x", job)
		}
		seen[job] = true
	}
}
