package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// patience is how long a process may take to start or to end.
const patience = 10 * time.Second

// process is a server that bench started.
type process struct {
	cmd    *exec.Cmd
	stdout *os.File
	stderr bytes.Buffer
	ended  chan struct{}
}

// start runs a program until stop, or until bench is interrupted. SIGTERM ends all of them, and the children of those that have any.
func (l *lab) start(program string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(l.ctx, program, args...), ended: make(chan struct{})}
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = patience
	p.cmd.Stderr = &p.stderr
	stdout, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.stdout = w, stdout
	err = p.cmd.Start()
	w.Close()
	if err != nil {
		stdout.Close()
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is told by its standard error
		close(p.ended)
	}()
	l.processes = append(l.processes, p)
	return p, nil
}

func (p *process) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.cmd.Process.Kill()
		<-p.ended
	}
	p.stdout.Close()
}

// lastWords ends the process, and returns the end of its log, to tell why something failed.
func (p *process) lastWords() string {
	if p == nil {
		return ""
	}
	p.stop()
	lines := strings.Split(strings.TrimSpace(p.stderr.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// listens waits until the process accepts connections.
func (p *process) listens(address string) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended at its start:\n%s", p.cmd.Path, p.lastWords())
		default:
		}
		if c, err := net.Dial("tcp", address); err == nil {
			return c.Close()
		}
	}
	return fmt.Errorf("%s does not listen on %s", p.cmd.Path, address)
}

// freeAddress is a loopback address nobody listens on, for servers that cannot be asked which one they took.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// tick is the unit of CPU time in /proc: USER_HZ is 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// micros is cpu in microseconds, none for no process.
func (p *process) micros() (float64, error) {
	if p == nil {
		return 0, nil
	}
	used, err := p.cpu()
	return float64(used.Microseconds()), err
}

// cpu is the user and system time that the process, its descendants and their ended children have used so far.
func (p *process) cpu() (time.Duration, error) {
	tree, err := p.tree()
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, pid := range tree {
		if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
			_, used := parseStat(string(text))
			sum += used
		}
	}
	return sum, nil
}

// tree lists the process and its descendants.
func (p *process) tree() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	parent := map[int]int{}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if text, err := os.ReadFile("/proc/" + entry.Name() + "/stat"); err == nil {
			parent[pid], _ = parseStat(string(text))
		}
	}
	root := p.cmd.Process.Pid
	if _, alive := parent[root]; !alive {
		return nil, errors.New(p.cmd.Path + " is gone")
	}
	var tree []int
	for pid := range parent {
		for ancestor := pid; ancestor > 1; ancestor = parent[ancestor] {
			if ancestor == root {
				tree = append(tree, pid)
				break
			}
		}
	}
	return tree, nil
}

// parseStat reads the parent and the CPU times of /proc/PID/stat, proc_pid_stat(5): fields 4, and 14 to 17. The name, field 2, may hold
// anything and ends at the last parenthesis.
func parseStat(text string) (parent int, used time.Duration) {
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const first = 3
	parent, _ = strconv.Atoi(fields[4-first])
	for i := 14; i <= 17; i++ {
		ticks, _ := strconv.Atoi(fields[i-first])
		used += time.Duration(ticks) * tick
	}
	return parent, used
}
