package h1

import (
	"sync"
	"sync/atomic"
)

// phase is what a goroutine is doing, and so what it may be waiting for.
type phase uint64

const (
	resting  phase = iota // nothing that could take long
	fresh                 // the first byte of a new connection
	idle                  // the next request
	parked                // the same, with the buffers given back
	reading               // the rest of a head
	handling              // the Handler
	asking                // the app: it takes the request and gives the head of its response
	taking                // the body of the response, from the app
	giving                // the client, which takes a response
	bringing              // the body of a request, from the client
	passing               // the app, which takes a body
	tunnel
	closing // the client's last bytes

	parking phase = 1 << 4 // the sweeper wants the buffers given back
	expired phase = 1 << 5 // the sweeper has ended what took too long
	watched phase = 1 << 6 // the sweeper has begun to watch the client
	ending  phase = 1 << 7 // a shutdown wants the connection to end
	lost    phase = 1 << 8 // the Handler has given the app's answer up
	marks         = parking | expired | watched | ending | lost
	perStep       = 1 << 9
)

// step is where a goroutine is. It moves on with one atomic operation and no look at a clock; the sweeper sees how long it stays, and puts a
// mark where it has interfered. That is all the cost of timeouts in a request to which nothing happens.
type step struct {
	word atomic.Uint64 // number of the step, marks, phase
	at   uint64        // word as its goroutine left it

	seen  uint64 // by the sweeper: word at its last look
	since int64  // and when it first saw that
}

// to moves on. It returns the marks that the sweeper has left on the step before, once what it did is done.
func (s *step) to(p phase, sweeper *sync.Mutex) phase {
	return s.swap((s.at/perStep+1)*perStep+uint64(p), sweeper)
}

// stay takes the marks and stays in the step: its time goes on.
func (s *step) stay(sweeper *sync.Mutex) phase { return s.swap(s.at, sweeper) }

func (s *step) swap(next uint64, sweeper *sync.Mutex) (found phase) {
	if !s.word.CompareAndSwap(s.at, next) {
		sweeper.Lock()
		found = phase(s.word.Swap(next)) & marks
		sweeper.Unlock()
	}
	s.at = next
	return found
}

// mark puts a mark on the step that a word stands for, unless its goroutine has moved on. The sweeper's lock is held.
func (s *step) mark(word uint64, m phase) bool { return s.word.CompareAndSwap(word, word|uint64(m)) }

func (s *step) phase() phase { return phaseOf(s.word.Load()) }

func phaseOf(word uint64) phase { return phase(word) % perStep &^ marks }
