package server

import (
	"context"
	"sync"

	"google.golang.org/grpc"
)

// ending lets a stream be ended from outside: go-control-plane's handlers end with the client or with the whole server only.
type ending struct {
	grpc.ServerStream
	ctx context.Context

	mu   sync.Mutex
	over chan struct{}
	err  error // what it ended with
}

type endingKey struct{}

// Intercept is the interceptor that a gRPC server needs for End.
func (s *Server) Intercept(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	e := &ending{ServerStream: stream, over: make(chan struct{})}
	e.ctx = context.WithValue(stream.Context(), endingKey{}, e)
	done := make(chan error, 1)
	go func() { done <- handler(srv, e) }() // it ends soon after the stream, with its next Recv or Send
	select {
	case err := <-done:
		return err
	case <-e.over:
		return e.err
	}
}

func (e *ending) Context() context.Context { return e.ctx }

// SendMsg sends nothing once the stream is over, for then grpc has taken it back.
func (e *ending) SendMsg(m any) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return e.err
	}
	return e.ServerStream.SendMsg(m)
}

func (e *ending) end(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err == nil {
		e.err = err
		close(e.over)
	}
}

// End ends a stream with a status error. It needs Intercept.
func (s *Server) End(id string, err error) {
	s.mu.Lock()
	st := s.streams[id]
	s.mu.Unlock()
	if st != nil && st.ending != nil {
		st.ending.end(err)
	}
}
