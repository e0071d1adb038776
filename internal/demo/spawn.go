package demo

import (
	"os/exec"
	"runtime"
)

// spawner starts children from one thread that lives as long as the demo: Linux ends a child when the thread that started it ends
// (PR_SET_PDEATHSIG), not the process, and Go moves goroutines between threads.
type spawner struct{ requests chan request }

type request struct {
	cmd  *exec.Cmd
	done chan error
}

func newSpawner() *spawner {
	s := &spawner{requests: make(chan request)}
	go func() {
		runtime.LockOSThread()
		for r := range s.requests {
			r.done <- r.cmd.Start()
		}
	}()
	return s
}

func (s *spawner) start(cmd *exec.Cmd) error {
	r := request{cmd, make(chan error)}
	s.requests <- r
	return <-r.done
}

func (s *spawner) close() { close(s.requests) }
