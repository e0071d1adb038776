package sidecar

import (
	"testing"
	"time"
)

func TestHeartbeatNoticesAStandstill(t *testing.T) {
	var b heartbeat
	start := time.UnixMilli(1_000_000)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	loaded := start.UnixMilli()
	if b.stoodStill(loaded, at(time.Hour)) {
		t.Error("before the first beat nothing is known")
	}
	for d := time.Duration(0); d <= time.Second; d += heartRate {
		b.beat(at(d))
	}
	if b.stoodStill(loaded, at(time.Second+heartRate)) {
		t.Error("it beat all the time")
	}
	if !b.stoodStill(loaded, at(3*time.Second)) {
		t.Error("two seconds without a beat, and none since")
	}
	b.beat(at(3 * time.Second))
	if !b.stoodStill(loaded, at(3*time.Second)) {
		t.Error("a beat noticed the standstill, and it is forgotten")
	}
	if b.stoodStill(at(3*time.Second+1*time.Millisecond).UnixMilli(), at(3*time.Second+heartRate)) {
		t.Error("what was loaded after the standstill is called old")
	}
}
