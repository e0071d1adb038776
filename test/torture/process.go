package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// patience is how long a process may take to start or to end.
const patience = 10 * time.Second

// process is a server of the fleet. It keeps its address through all of its deaths.
type process struct {
	name    string
	address string
	program string
	args    []string
	environ []string
	group   uint32 // 0 is ours; another needs root
	log     string // file of its standard error
	cmd     *exec.Cmd
	ended   chan struct{}
}

// start runs it and returns when it accepts connections.
func (p *process) start() error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.program, p.args...)
	cmd.Env = append(os.Environ(), p.environ...)
	cmd.Stderr = log
	if p.group != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Gid: p.group}}
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is told by its log
		close(ended)
	}()
	p.cmd, p.ended = cmd, ended
	return p.listens()
}

func (p *process) listens() error {
	ok := eventually(patience, func() bool {
		c, err := net.Dial("tcp", p.address)
		if err != nil {
			return p.isDead()
		}
		return c.Close() == nil
	})
	if !ok || p.isDead() {
		return fmt.Errorf("%s does not listen on %s: %s", p.name, p.address, p.lastWords())
	}
	return nil
}

func (p *process) isDead() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// kill is kill -9, and returns when the process is gone.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// leave is a polite signal, and returns when the process is gone.
func (p *process) leave(s syscall.Signal) error {
	p.signal(s)
	select {
	case <-p.ended:
		return nil
	case <-time.After(2 * patience):
		p.kill()
		return fmt.Errorf("%s did not end in %v after %v", p.name, 2*patience, s)
	}
}

// freeze is SIGSTOP: the kernel still accepts connections for it, and nothing answers. thaw is SIGCONT: what was sent meanwhile is
// done now.
func (p *process) freeze() { p.signal(syscall.SIGSTOP) }
func (p *process) thaw()   { p.signal(syscall.SIGCONT) }

// lastWords is the end of its log.
func (p *process) lastWords() string {
	text, _ := os.ReadFile(p.log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], "\n")
}

// eventually polls until ok, at most for d.
func eventually(d time.Duration, ok func() bool) bool {
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(d); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// freeAddresses are loopback addresses that nobody listens on, below the ports which systems give to outgoing connections: one of these
// could take the port of a dead process before it comes back.
func freeAddresses(n int) (addresses []string, err error) {
	for tries := 0; len(addresses) < n; tries++ {
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(20000+rand.IntN(12000)))
		if err == nil {
			defer l.Close() // only now, so that none is found twice
			addresses = append(addresses, l.Addr().String())
		} else if tries > 1000 {
			return nil, fmt.Errorf("too few free ports of 127.0.0.1 from 20000 to 31999: %w", err)
		}
	}
	return addresses, nil
}

// programs are what the fleet is made of, and where logs go.
type programs struct {
	dir              string
	pillion, counter string
	key              string
}

// build compiles the sidecar and the app.
func build(dir string) (*programs, error) {
	p := &programs{dir: dir, pillion: filepath.Join(dir, "pillion"), counter: filepath.Join(dir, "counter"), key: filepath.Join(dir, "key")}
	const module = "github.com/pillion-proxy/pillion/"
	commands := [][]string{
		{"go", "build", "-o", p.pillion, module + "cmd/pillion"},
		{"go", "build", "-o", p.counter, module + "examples/counter/go"},
	}
	if _, err := os.Stat(p.key); err != nil { // a directory of logs may be an earlier run's
		commands = append(commands, []string{p.pillion, "config", "key", p.key})
	}
	for _, command := range commands {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, out)
		}
	}
	return p, nil
}

// installed tells whether memcached is there, and what to do when it is not. Debian keeps servers where not every user looks.
func installed() error {
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin"); err != nil {
		return err
	}
	if _, err := exec.LookPath("memcached"); err != nil {
		return errors.New("memcached is not installed: on Debian and Ubuntu, sudo apt-get install memcached")
	}
	return nil
}
