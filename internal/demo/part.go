package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	startWithin = 20 * time.Second
	stopWithin  = 5 * time.Second
)

// part is one child process of the demo. It tells its address by a line "listening on ADDRESS" on its standard output; after the first
// start it keeps that address. A foreign one knows nothing of that: it is up when its address accepts connections.
type part struct {
	kind, name string
	foreign    bool
	executable string
	command    []string // without --listen
	environ    []string
	listen     string
	log        string
	cmd        *exec.Cmd
	exited     chan struct{}
}

func (p *part) pid() int { return p.cmd.Process.Pid }

func (p *part) start(ctx context.Context, s *spawner) error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	command := slices.Clone(p.command)
	if !p.foreign {
		command = append(command, "--listen="+p.listen)
	}
	cmd := exec.Command(p.executable, command...)
	cmd.Env = p.environ
	cmd.Stderr = log
	cmd.SysProcAttr = childAttributes()
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.start(cmd); err != nil {
		return err
	}
	p.cmd, p.exited = cmd, make(chan struct{})
	address := make(chan string, 1)
	go p.follow(cmd, out, address, p.exited)
	if p.foreign {
		go p.accepts(address, p.exited)
	}
	select {
	case p.listen = <-address:
		return nil
	case <-p.exited:
		return errors.New(p.lastWords())
	case <-time.After(startWithin):
		p.stop()
		return errors.New("it told no address")
	case <-ctx.Done():
		p.stop()
		return ctx.Err()
	}
}

// follow reads the child's output to its end and reaps it.
func (p *part) follow(cmd *exec.Cmd, out io.Reader, address chan<- string, exited chan<- struct{}) {
	defer close(exited)
	lines := bufio.NewScanner(out)
	for told := false; lines.Scan(); {
		if a, ok := strings.CutPrefix(lines.Text(), "listening on "); ok && !told {
			told = true
			address <- a
		}
	}
	_ = cmd.Wait()
}

// accepts waits until the child's address accepts connections.
func (p *part) accepts(address chan<- string, exited <-chan struct{}) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		select {
		case <-exited:
			return
		default:
		}
		if conn, err := net.Dial("tcp", p.listen); err == nil {
			_ = conn.Close()
			address <- p.listen
			return
		}
	}
}

// stop ends the child, gently first.
func (p *part) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(stopWithin):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// lastWords is the reason why the child ended at once, as far as it said one.
func (p *part) lastWords() string {
	text, _ := os.ReadFile(p.log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return "it ended at once: " + strings.TrimPrefix(lines[len(lines)-1], "pillion: ")
}

// freePorts finds ports of loopback that nobody uses, below those which systems give to outgoing connections: one of these could
// otherwise take the port of a dead part before it comes back.
func freePorts(n int) (addresses []string, err error) {
	for tries := 0; len(addresses) < n; tries++ {
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(20000+rand.IntN(12000)))
		if err == nil {
			defer l.Close() // only now, so that none is found twice
			addresses = append(addresses, l.Addr().String())
		} else if tries > 1000 {
			return nil, fmt.Errorf("demo: too few free ports of 127.0.0.1 from 20000 to 31999: %w", err)
		}
	}
	return addresses, nil
}
