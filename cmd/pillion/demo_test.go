package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"runtime"
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
	t.Run("end", func(t *testing.T) {
		t.Parallel()
		testEnd(t, program)
	})
}

// testKills kills each node and each sidecar once while visitors count. No acknowledged increment may be lost.
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
	for _, name := range []string{"n1", "a1", "n2", "a2"} {
		writes := f.node("n1").stat("cmd_set") + f.node("n2").stat("cmd_set")
		f.bounce(name)
		awaitCopies(t, f, all)
		if after := f.node("n1").stat("cmd_set") + f.node("n2").stat("cmd_set"); strings.HasPrefix(name, "a") && after <= writes {
			t.Errorf("the nodes count %d writes, and counted %d before %s was killed", after, writes, name)
		}
	}
	stop()
	counting.Wait()
	answered, unanswered := 0, 0
	for _, v := range all {
		if wrong := v.complaints(); wrong != "" {
			t.Errorf("%s: %s", v.ref, wrong)
		}
		for _, c := range v.counts {
			answered, unanswered = answered+c.total, unanswered+c.unanswered
		}
		for _, sidecar := range []string{"a1", "a2"} {
			v.check(t, f.url(sidecar))
		}
		if ref := v.session()["ref"]; ref != v.ref {
			t.Errorf("the session was %s and is %s", v.ref, ref)
		}
	}
	t.Logf("%d increments acknowledged, %d of the last ones unanswered", answered, unanswered)
}

// awaitCopies waits until both nodes list the session of every visitor.
func awaitCopies(t *testing.T, f *demoFleet, all []*visitor) {
	t.Helper()
	eventually(t, "both nodes have every session", func() bool {
		for _, name := range []string{"n1", "n2"} {
			keys := f.node(name).keys()
			for _, v := range all {
				if !keys[v.key()] {
					return false
				}
			}
		}
		return true
	})
}

// testDamage turns a bit in both copies of a session. Nobody may be shown what they hold.
func testDamage(t *testing.T, f *demoFleet, sticky bool) {
	for i, at := range []float64{0, 0.3, 0.6, 1} {
		v := newVisitor(t, f.url("front"))
		awaitCopies(t, f, []*visitor{v})
		home := f.part("a" + strconv.Itoa(1+i%2)).name
		if sticky {
			home = v.session()["route"].(string)
		}
		rejected := blobsRejected(t, f)
		for _, node := range []string{"n1", "n2"} {
			f.node(node).flip(v.key(), at)
		}
		reader := "a1"
		if sticky { // the home has it in memory: ask the other one, which reads the copies
			reader = map[string]string{"a1": "a2", "a2": "a1"}[home]
		}
		session, err := v.get(f.url(reader) + "/get")
		if err != nil || len(session) != 0 {
			t.Errorf("a bit turned at %v: %v, %v, want no session", at, session, err)
		}
		if after := blobsRejected(t, f); after < rejected+2 {
			t.Errorf("a bit turned at %v: %d blobs rejected, and %d before", at, after, rejected)
		}
	}
}

var rejectedLine = regexp.MustCompile(`(?m)^pillion_blobs_rejected_total\{.*\} (\d+)$`)

// blobsRejected is what both sidecars count.
func blobsRejected(t *testing.T, f *demoFleet) (n int) {
	t.Helper()
	for _, route := range []string{"a1", "a2"} {
		resp, err := http.Get(f.metrics(route))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		for _, m := range rejectedLine.FindAllStringSubmatch(string(text), -1) {
			count, _ := strconv.Atoi(m[1])
			n += count
		}
	}
	return n
}

// testEnd tries what ends the demo: no part may outlive it.
func testEnd(t *testing.T, program string) {
	f := startDemo(t, program, "--restart=false")
	killed := f.kill("a1")
	eventually(t, "a1 is said to be dead", func() bool { return strings.Contains(f.said(), "a1 died") })
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
