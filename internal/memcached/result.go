package memcached

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pillion-proxy/pillion/internal/metrics"
)

// operation is what a node was asked, for the metrics.
type operation uint8

const (
	opGet operation = iota
	opAdd
	opCAS
	opTouch
)

var operationNames = [...]string{"get", "add", "cas", "touch"}

// result is what became of an operation.
type result uint8

const (
	done     result = iota
	missed          // answered: not there
	conflict        // answered: something else is there
	timeout         // no answer in time; a write may still happen
	refused         // nobody listens
	renewed         // the connection found a new life and was not used
	denied          // answered: SERVER_ERROR, as when it is out of memory
	broken          // the connection broke or made no sense
)

var resultNames = [...]string{"ok", "miss", "conflict", "timeout", "refused", "error", "error", "error"}

// answered tells whether the node said something sensible; what it denied is no sign of bad health.
func (r result) answered() bool { return r <= conflict || r == denied }

func resultOf(err error) result {
	switch {
	case err == nil:
		return done
	case errors.Is(err, memcache.ErrCacheMiss):
		return missed
	case errors.Is(err, memcache.ErrCASConflict), errors.Is(err, memcache.ErrNotStored):
		return conflict
	case errors.Is(err, errNewLife):
		return renewed
	}
	return failureOf(err)
}

func failureOf(err error) result {
	var slow *memcache.ConnectTimeoutError
	var network net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH),
		errors.Is(err, os.ErrNotExist): // the last for a Unix socket
		return refused
	case errors.As(err, &slow), errors.As(err, &network) && network.Timeout():
		return timeout
	case strings.Contains(err.Error(), `"SERVER_ERROR `): // gomemcache has no value for it
		return denied
	}
	return broken
}

// gone tells whether the node's host answers that nobody listens there. A host out of reach is no such answer: the node may live.
func gone(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrNotExist)
}

// stale tells whether err is that of a pooled connection whose server went away meanwhile.
func stale(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, io.ErrClosedPipe) // EPIPE of a net.Pipe, which an embedded node is dialed by
}

// meters are one node's instruments, looked up once.
type meters struct {
	results [len(operationNames)][len(resultNames)]prometheus.Counter
	seconds prometheus.Observer
}

func newMeters(m *metrics.Metrics, node string) meters {
	out := meters{seconds: m.NodeSeconds.WithLabelValues(node)}
	for op, name := range operationNames {
		for r, result := range resultNames {
			out.results[op][r] = m.NodeOperations.WithLabelValues(node, name, result)
		}
	}
	m.NodeUp.WithLabelValues(node).Set(1)
	m.NodeLives.WithLabelValues(node)
	return out
}

func (m *meters) observe(op operation, r result, took time.Duration) {
	m.results[op][r].Inc()
	m.seconds.Observe(took.Seconds())
}
