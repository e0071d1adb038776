package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	startWithin = 20 * time.Second
	stopWithin  = 5 * time.Second
)

// part is one child process of the demo. It tells its address by a line "listening on ADDRESS" on its standard output; after the first
// start it keeps that address.
type part struct {
	kind, name string
	args       []string
	listen     string
	executable string
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
	cmd := exec.Command(p.executable, append(append([]string{}, p.args...), "--listen", p.listen)...)
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
	select {
	case p.listen = <-address:
		return nil
	case <-p.exited:
		return fmt.Errorf("it ended at once: %s", p.lastWords())
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

func (p *part) lastWords() string {
	text, _ := os.ReadFile(p.log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}
