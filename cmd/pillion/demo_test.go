package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const visitors = 20

// TestDemo runs the demo as its users do: it starts the program, reads what it says, and kills its parts.
func TestDemo(t *testing.T) {
	program := buildPillion(t)
	for _, mode := range []string{"sticky", "shared"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			f := startDemo(t, program, fmt.Sprintf("--sticky=%t", mode == "sticky"))
			testKills(t, f)
			testDamage(t, f, mode == "sticky")
		})
	}
	t.Run("envoy", func(t *testing.T) {
		t.Parallel()
		testEnvoyFront(t, program)
	})
	t.Run("end", func(t *testing.T) {
		t.Parallel()
		testEnd(t, program)
	})
}

// testEnvoyFront has a real Envoy as the front: a visitor counts on while the control plane dies, then a sidecar, then Envoy.
func testEnvoyFront(t *testing.T, program string) {
	envoyBinary(t)
	f := startDemo(t, program, "--front=envoy")
	v := newVisitor(t, f.url("front"))
	for _, name := range []string{"plane", "a1", "front"} {
		f.bounce(name)
		eventually(t, "the visitor counts on", func() bool { v.increment(0); return v.counts[0].unanswered == 0 })
	}
	if wrong := v.complaints(); wrong != "" {
		t.Error(wrong)
	}
}

// testKills kills each node, each sidecar and the control plane once while visitors count. No acknowledged increment may be lost.
func testKills(t *testing.T, f *demoFleet) {
	var all []*visitor
	for range visitors {
		all = append(all, newVisitor(t, f.url("front")))
	}
	ctx, stop := context.WithCancel(t.Context())
	var counting sync.WaitGroup
	for _, v := range all {
		counting.Go(func() { v.count(ctx) })
	}
	for _, name := range []string{"n1", "a1", "plane", "n2", "a2"} {
		writes := f.node("n1").stat("cmd_set") + f.node("n2").stat("cmd_set")
		f.bounce(name)
		awaitCopies(t, f, all)
		if after := f.node("n1").stat("cmd_set") + f.node("n2").stat("cmd_set"); strings.HasPrefix(name, "a") && after <= writes {
			t.Errorf("the nodes count %d writes, and counted %d before %s was killed", after, writes, name)
		}
	}
	stop()
	counting.Wait()
	answers, failures := 0, map[string]int{}
	for _, v := range all {
		if wrong := v.complaints(); wrong != "" {
			t.Errorf("%s: %s", v.ref, wrong)
		}
		for _, c := range v.counts {
			answers += c.answers
		}
		for why, n := range v.failures {
			failures[why] += n
		}
		for _, sidecar := range []string{"a1", "a2"} {
			v.check(t, f.url(sidecar))
		}
		if ref := v.session()["ref"]; ref != v.ref {
			t.Errorf("the session was %s and is %s", v.ref, ref)
		}
	}
	t.Logf("%d increments acknowledged; not acknowledged: %v", answers, failures)
}

// awaitCopies waits until both nodes list the session of every visitor. In shared mode it is visits that repair a copy: each asks once more.
func awaitCopies(t *testing.T, f *demoFleet, all []*visitor) {
	t.Helper()
	eventually(t, "both nodes have every session", func() bool {
		n1, n2 := f.node("n1").keys(), f.node("n2").keys()
		missing := slices.ContainsFunc(all, func(v *visitor) bool { return !n1[v.key()] || !n2[v.key()] })
		if missing {
			for _, v := range all {
				_, _ = v.get(v.front + "/get")
			}
		}
		return !missing
	})
}

// testDamage turns a bit in both copies of sessions that no memory has any more. Nobody may be shown what the copies hold, and the
// sidecars tell of it.
func testDamage(t *testing.T, f *demoFleet, sticky bool) {
	var victims []*visitor
	for len(victims) < 4 {
		v := newVisitor(t, f.url("front"))
		if sticky && v.session()["route"] != "a1" {
			continue
		}
		awaitCopies(t, f, []*visitor{v})
		victims = append(victims, v)
	}
	before := blobsRejected(t, f, "a2")
	for i, v := range victims {
		for _, node := range []string{"n1", "n2"} {
			f.node(node).flip(v.key(), float64(i)/float64(len(victims)-1))
		}
	}
	if sticky {
		f.kill("a1") // the home serves from memory
	}
	for i, v := range victims {
		if session, err := v.get(f.url("a2") + "/get"); err != nil || len(session) != 0 {
			t.Errorf("bit %d of both copies turned: %v, %v, want no session", i, session, err)
		}
	}
	if after := blobsRejected(t, f, "a2"); after < before+2*len(victims) {
		t.Errorf("%d blobs rejected, and %d before %d sessions were damaged", after, before, len(victims))
	}
}

var rejectedLine = regexp.MustCompile(`(?m)^pillion_blobs_rejected_total\{.*\} (\d+)$`)

// blobsRejected is what that sidecar counts.
func blobsRejected(t *testing.T, f *demoFleet, route string) (n int) {
	t.Helper()
	resp, err := http.Get(f.metrics(route))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range rejectedLine.FindAllStringSubmatch(string(text), -1) {
		count, _ := strconv.Atoi(m[1])
		n += count
	}
	return n
}

// testEnd tries what ends the demo: no part may outlive it.
func testEnd(t *testing.T, program string) {
	f := startDemo(t, program, "--restart=false")
	killed := f.kill("a1")
	v := newVisitor(t, f.url("front"))
	if v.session()["route"] != "a2" {
		t.Errorf("the front gave the visitor to a sidecar that is dead: %v", v.session())
	}
	if err := f.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	f.awaitEnd()
	if f.part("a1").pid != killed.pid {
		t.Error("--restart=false, and a1 was started again")
	}
	if code := f.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("Ctrl-C ended the demo with %d", code)
	}
	if runtime.GOOS != "linux" {
		return // only Linux ends the children of a parent that was killed
	}
	f = startDemo(t, program)
	_ = f.cmd.Process.Kill()
	f.awaitEnd()
}

// awaitEnd waits until the demo and all its parts are gone.
func (f *demoFleet) awaitEnd() {
	f.t.Helper()
	eventually(f.t, "the demo and its parts are gone", func() bool {
		select {
		case <-f.done:
		default:
			return false
		}
		for _, p := range f.announced() {
			if alive(p.pid) {
				return false
			}
		}
		return true
	})
}
