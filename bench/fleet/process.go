package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience is how long anything may take that has no figure.
const patience = 30 * time.Second

// process is a server of the fleet.
type process struct {
	cmd   *exec.Cmd
	log   lockedLog
	ended chan struct{}
	says  map[string]string // what it printed at its start: "listening on", "admin on"
}

type lockedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// tail is the end of the log.
func (l *lockedLog) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(l.b.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}

// start starts a program; with announced, one of ours that prints its addresses.
func (l *lab) start(announced bool, program string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(l.ctx, program, args...), ended: make(chan struct{}), says: map[string]string{}}
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = patience
	p.cmd.Stderr = &p.log
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout = writer
	err = p.cmd.Start()
	_ = writer.Close()
	if err != nil {
		_ = reader.Close()
		return nil, err
	}
	l.processes = append(l.processes, p)
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	lines := bufio.NewScanner(reader)
	for announced && p.says["admin on"] == "" {
		if !lines.Scan() {
			<-p.ended
			return nil, fmt.Errorf("%s %s ended at its start:\n%s", program, args[0], p.log.tail())
		}
		for _, words := range []string{"listening on", "admin on"} {
			if rest, ok := strings.CutPrefix(lines.Text(), words+" "); ok {
				p.says[words] = rest
			}
		}
	}
	go func() {
		_, _ = io.Copy(io.Discard, reader)
		_ = reader.Close()
	}()
	return p, nil
}

// stop ends the process as a service manager would, and waits for it.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.kill()
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// freePort is below those that connections get by themselves, which would take it before the server does.
func (l *lab) freePort() (int, error) {
	for range 1000 {
		c, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000)))
		if err == nil {
			return c.Addr().(*net.TCPAddr).Port, c.Close()
		}
	}
	return 0, errors.New("no free port")
}

// until polls until is returns no error.
func until(ctx context.Context, what string, is func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := is()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("never: %s: %w", what, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

var asker = http.Client{Timeout: 5 * time.Second}

// fetch reads a page; any other status than 200 is an error.
func fetch(url string) (string, error) {
	answer, err := asker.Get(url)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != 200 {
		err = fmt.Errorf("%s: %s", url, answer.Status)
	}
	return string(text), err
}

// cpu is the user and system time that the process has used so far, proc_pid_stat(5): fields 14 and 15, in hundredths of a second. The name,
// field 2, may hold anything and ends at the last parenthesis.
func (p *process) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var used time.Duration
	for _, i := range []int{14 - 3, 15 - 3} {
		ticks, _ := strconv.Atoi(fields[i])
		used += time.Duration(ticks) * 10 * time.Millisecond
	}
	return used, nil
}
