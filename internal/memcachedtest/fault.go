package memcachedtest

import "time"

// Command is what a fault hook is asked about: one well-formed command whose data has arrived.
type Command struct {
	Name string
	Key  string // the first one, "" for a command without
}

// Action is what happens to a command. The zero value lets it pass; the fields combine.
type Action struct {
	Delay time.Duration   // first wait that long
	Until <-chan struct{} // and until this is closed: a stopped process, which does what it was sent when it goes on
	Drop  Drop            // drop the connection instead of answering
	Reply string          // execute, but answer this
}

// Drop says when a connection is dropped.
type Drop uint8

const (
	NoDrop     Drop = iota
	DropBefore      // the command is not executed
	DropAfter       // it is executed, and the client cannot know
)

// Fault sets the hook that decides what happens to each command; nil lets all pass. It is called from every connection's
// goroutine and may call the Server.
func (s *Server) Fault(hook func(Command) Action) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = hook
	for c := range s.conns {
		c.fault.Store(&hook)
	}
}

// act asks the hook and does the part of its answer that comes before the command.
func (c *conn) act(args [][]byte, key int) (Action, error) {
	hook := *c.fault.Load()
	if hook == nil {
		return Action{}, nil
	}
	command := Command{Name: string(args[0])}
	if key > 0 && key < len(args) {
		command.Key = string(args[key])
	}
	a := hook(command)
	if a.Delay > 0 || a.Until != nil || a.Drop == DropBefore {
		if err := c.flush(); err != nil {
			return a, err
		}
	}
	if a.Delay > 0 {
		timer := time.NewTimer(a.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.gone:
			return a, errDropped
		}
	}
	if a.Until != nil {
		select {
		case <-a.Until:
		case <-c.gone:
			return a, errDropped
		}
	}
	if a.Drop == DropBefore {
		return a, errDropped
	}
	return a, nil
}
