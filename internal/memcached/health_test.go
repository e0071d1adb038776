package memcached

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
)

// actor is a node that holds nothing but its canary, and behaves as its mood says.
type actor struct {
	mood  atomic.Int32
	life  atomic.Int32
	dials atomic.Int32
	asked atomic.Int32   // commands other than for the canary
	conn  func(net.Conn) // serves instead, when not nil
}

const (
	well int32 = iota
	refusing
	silent
)

func (a *actor) dial() (net.Conn, error) {
	a.dials.Add(1)
	if a.mood.Load() == refusing {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	client, server := net.Pipe()
	if a.conn != nil {
		go a.conn(server)
		return client, nil
	}
	go a.serve(server)
	return client, nil
}

func (a *actor) serve(conn net.Conn) {
	defer conn.Close()
	for lines := bufio.NewReader(conn); ; {
		line, err := lines.ReadString('\n')
		if err != nil || a.mood.Load() == refusing {
			return
		}
		verb, key, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case a.mood.Load() == silent:
		case verb == "gets" && key == markKey:
			fmt.Fprintf(conn, "VALUE %s 0 16 1\r\nlife%04d00000000\r\nEND\r\n", markKey, a.life.Load())
		case verb == "gets":
			a.asked.Add(1)
			fmt.Fprint(conn, "END\r\n")
		case verb == "touch":
			fmt.Fprint(conn, "TOUCHED\r\n")
		default:
			fmt.Fprint(conn, "ERROR\r\n")
		}
	}
}

// troupe is a started store over actors, in a bubble of fake time. With no error of theirs nothing is asked but each poll.
func troupe(t *testing.T, o Options, actors ...*actor) *Store {
	for i := range actors {
		o.Nodes = append(o.Nodes, ring.Node{Name: fmt.Sprintf("n%d", i+1), Address: fmt.Sprintf("host:%d", i)})
	}
	o.Dial = func(_ context.Context, _, address string) (net.Conn, error) {
		i, err := strconv.Atoi(strings.TrimPrefix(address, "host:"))
		if err != nil {
			return nil, err
		}
		return actors[i].dial()
	}
	o.OpTimeout = 100 * time.Millisecond
	s := newStore(t, o)
	s.Start(t.Context())
	synctest.Wait()
	return s
}

func states(s *Store) string {
	var all []string
	for _, n := range s.Nodes() {
		all = append(all, string(n.State))
	}
	return strings.Join(all, " ")
}

func expect(t *testing.T, s *Store, want string) {
	t.Helper()
	synctest.Wait()
	if got := states(s); got != want {
		t.Errorf("states are %q, want %q", got, want)
	}
}

// step lets fake time pass.
func step(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func near(s *Store, node string) error {
	_, err := s.Load(context.Background(), ring.ID{Node: node}, store.Near)
	return err
}

func TestRefusalTakesDownAtOnceAndProbesBringBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := new(actor), new(actor)
		var news heard
		s := troupe(t, Options{NewLife: news.of}, a, b)
		expect(t, s, "up up")
		a.mood.Store(refusing)
		_ = near(s, "n1")
		expect(t, s, "down up")
		dials := a.dials.Load()
		_ = near(s, "n1")
		if a.dials.Load() != dials {
			t.Error("a request dialed a node that is down")
		}
		step(time.Minute)
		if n := a.dials.Load() - dials; n < 80 || n > 240 {
			t.Errorf("%d probes in a minute; they are to come about every half second", n)
		}
		expect(t, s, "down up")
		a.mood.Store(well)
		step(probeEvery*3/2 + probeAgain + time.Millisecond)
		expect(t, s, "suspect up")
		if news.times("n1") != 1 {
			t.Errorf("NewLife told %d times", news.times("n1"))
		}
		asked := b.asked.Load()
		_ = near(s, "n1")
		if b.asked.Load() == asked {
			t.Error("the other copy was not asked while the node is suspect")
		}
		step(suspectFor)
		expect(t, s, "up up")
		s.Close()
	})
}

func TestThreeTimeoutsTakeDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := new(actor), new(actor)
		s := troupe(t, Options{}, a, b)
		a.mood.Store(silent)
		for _, want := range []string{"up up", "up up", "down up"} {
			_ = near(s, "n1")
			expect(t, s, want)
		}
		start := time.Now()
		var unknown *store.UnknownError
		if err := near(s, "n1"); !errors.As(err, &unknown) || unknown.Node != "n1" || unknown.DownFor < 200 {
			t.Errorf("err = %+v", err)
		}
		if took := time.Since(start); took > time.Millisecond {
			t.Errorf("a node that is down costs %v", took)
		}
		a.mood.Store(well)
		step(2 * time.Second)
		expect(t, s, "suspect up")
		s.Close()
	})
}

// A pause lets all operations under way fail together, and tells no more than one of them would.
func TestFailuresOfOnePauseAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := new(actor), new(actor)
		s := troupe(t, Options{}, a, b)
		a.mood.Store(silent)
		var requests sync.WaitGroup
		for range 20 {
			requests.Go(func() { _ = near(s, "n1") })
		}
		requests.Wait()
		expect(t, s, "up up")
		_ = near(s, "n1")
		_ = near(s, "n1")
		expect(t, s, "down up")
		s.Close()
	})
}

// One node is dead and the other pauses: without it there is no ring at all, so that it stays in use.
func TestSilenceDoesNotTakeDownTheLastNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := new(actor), new(actor)
		s := troupe(t, Options{}, a, b)
		a.mood.Store(refusing)
		b.mood.Store(silent)
		for range 5 {
			_ = near(s, "n1")
		}
		expect(t, s, "down up")
		b.mood.Store(refusing)
		_ = near(s, "n2")
		expect(t, s, "down down")
		s.Close()
	})
}

// Two failures, a success, two failures: not three in a row.
func TestSuccessForgivesFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := new(actor), new(actor)
		s := troupe(t, Options{}, a, b)
		for range 2 { // in less than the next poll, which would count too
			a.mood.Store(silent)
			_ = near(s, "n1")
			_ = near(s, "n1")
			a.mood.Store(well)
			_ = near(s, "n1")
			expect(t, s, "up up")
		}
		s.Close()
	})
}

// When all nodes are silent nobody knows whose fault it is: they stay up, so that they are used at once when they are back, and by every
// sidecar the same.
func TestSilenceOfAllTakesDownNone(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5} {
		synctest.Test(t, func(t *testing.T) {
			actors := make([]*actor, n)
			for i := range actors {
				actors[i] = new(actor)
			}
			s := troupe(t, Options{}, actors...)
			for _, a := range actors {
				a.mood.Store(silent)
			}
			step(time.Minute)
			if down := strings.Count(states(s), "down"); down > 0 {
				t.Errorf("%d nodes: %s", n, states(s))
			}
			s.Close()
		})
	}
}

// One node is silent and down; then the other is silent too, and the first one is given another chance.
func TestSilenceOfTheLastAcquitsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := new(actor), new(actor)
		s := troupe(t, Options{}, a, b)
		a.mood.Store(silent)
		for range failuresDown {
			_ = near(s, "n1")
		}
		expect(t, s, "down up")
		b.mood.Store(silent)
		for range failuresDown {
			_ = near(s, "n2")
		}
		expect(t, s, "suspect up")
		b.mood.Store(well)
		step(2 * time.Second)
		expect(t, s, "down up")
		s.Close()
	})
}

// Silence does not take down most of a ring.
func TestSilenceTakesDownFew(t *testing.T) {
	for n, want := range map[int]int{2: 1, 3: 1, 5: 2} {
		synctest.Test(t, func(t *testing.T) {
			actors := make([]*actor, n)
			for i := range actors {
				actors[i] = new(actor)
			}
			s := troupe(t, Options{}, actors...)
			for _, a := range actors[1:] {
				a.mood.Store(silent)
			}
			step(time.Minute)
			if down := strings.Count(states(s), "down"); down != want {
				t.Errorf("%d nodes: %s", n, states(s))
			}
			s.Close()
		})
	}
}

// The poll finds a flush_all although no request comes, and forgets what it knew of that node.
func TestPollFindsANewLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := new(actor), new(actor)
		var news heard
		s := troupe(t, Options{NewLife: news.of}, a, b)
		before := s.fleet.Load().byName["n1"].now.Load()
		a.life.Store(1)
		step(pollEvery)
		if news.times("n1") != 1 || news.times("n2") != 0 {
			t.Errorf("NewLife: n1 %d, n2 %d", news.times("n1"), news.times("n2"))
		}
		if after := s.fleet.Load().byName["n1"].now.Load(); after.generation == before.generation {
			t.Error("the generation is the same")
		}
		expect(t, s, "suspect up")
		s.Close()
	})
}
