package config_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// machine is one of the two: a network namespace with an address, and what runs in it.
type machine struct {
	name    string // of the namespace, and the route of the sidecar
	address string
	node    *node
	app     *process
	sidecar *process
}

func newMachines() (m20, m21 *machine) {
	m20 = &machine{name: "m20", address: "10.100.0.20"}
	m21 = &machine{name: "m21", address: "10.100.0.21"}
	m20.node, m21.node = &node{name: "n1", on: m20}, &node{name: "n2", on: m21}
	return m20, m21
}

// wire connects both machines and the visitors, who stay in this process's own namespace, by a bridge. iproute2 keeps the names of
// namespaces below /run, which is private here.
func wire() error {
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount a private /run: %w", err)
	}
	commands := [][]string{
		{"link", "set", "lo", "up"},
		{"link", "add", "lan", "type", "bridge"},
		{"address", "add", "10.100.0.1/24", "dev", "lan"},
		{"link", "set", "lan", "up"},
	}
	m20, m21 := newMachines()
	for _, m := range []*machine{m20, m21} {
		commands = append(commands,
			[]string{"netns", "add", m.name},
			[]string{"link", "add", m.name, "type", "veth", "peer", "name", "eth0", "netns", m.name},
			[]string{"link", "set", m.name, "master", "lan", "up"},
			[]string{"-n", m.name, "link", "set", "lo", "up"},
			[]string{"-n", m.name, "address", "add", m.address + "/24", "dev", "eth0"},
			[]string{"-n", m.name, "link", "set", "eth0", "up"})
	}
	for _, args := range commands {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %v: %w: %s", args, err, bytes.TrimSpace(out))
		}
	}
	return nil
}

func (m *machine) startApp(t *testing.T) {
	t.Helper()
	app, err := self("app")
	if err != nil {
		t.Fatal(err)
	}
	m.app = m.run(t, app)
}

// startSidecar runs it with a configuration file and what is the machine's own, until a front would send it visitors.
func (m *machine) startSidecar(t *testing.T, file, key string, flags []string) {
	t.Helper()
	args := append([]string{"sidecar", "--config", file, "--route", m.name, "--keys", "id=1,use=seal,file=" + key}, flags...)
	sidecar := exec.Command(pillion, args...)
	sidecar.Env = []string{"PATH=" + os.Getenv("PATH")} // variables are settings: only the file and the flags count here
	m.sidecar = m.run(t, sidecar)
	eventually(t, m.name+" is ready", func() bool {
		resp, err := client.Get("http://" + m.address + ":8080/.well-known/pillion/ready")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil && resp.StatusCode == http.StatusOK
	})
}

// process is a program on a machine; it is ended with the test.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
}

func (m *machine) run(t *testing.T, program *exec.Cmd) *process {
	t.Helper()
	cmd := exec.Command("ip", append([]string{"netns", "exec", m.name}, program.Args...)...)
	cmd.Env = program.Env
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t, cmd}
	t.Cleanup(p.kill)
	return p
}

// kill is kill -9.
func (p *process) kill() {
	if p == nil || p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.cmd = nil
}
