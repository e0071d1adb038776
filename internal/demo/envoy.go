package demo

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

// frontPlan is the front, and what the control plane must know for it.
type frontPlan struct {
	part     *part
	services []string // arguments of the control plane
}

var errNoEnvoy = errors.New("demo: --front envoy wants a program envoy in PATH (https://www.envoyproxy.io/docs/envoy/latest/start/install); without the flag the front is pillion's own")

// findEnvoy returns Envoy's program, "" where it is not wanted.
func findEnvoy(wanted bool) (string, error) {
	if !wanted {
		return "", nil
	}
	program, err := exec.LookPath("envoy")
	if err != nil {
		return "", errNoEnvoy
	}
	return program, nil
}

// front is a front at the user's address, else at that free one, which follows the plane.
func (f *fleet) front(free, plane string) (frontPlan, error) {
	listen := f.opts.Listen
	if listen == "" {
		listen = free
	}
	if f.envoy != "" {
		return f.envoyFront(listen, free, plane)
	}
	command := []string{"demo-front", "--control-plane=" + plane, "--id=front", "--admin=off", "--drain-linger=0s"}
	return frontPlan{part: f.part(&part{kind: "front", name: "front", listen: listen, command: command})}, nil
}

// envoyFront has a bootstrap of pillion's making. Its address comes from the control plane, which reads it in a services file.
func (f *fleet) envoyFront(listen, free, plane string) (p frontPlan, err error) {
	at, err := net.ResolveTCPAddr("tcp", listen)
	if err != nil {
		return p, fmt.Errorf("demo: --listen: %w", err)
	}
	if at.Port == 0 { // Envoy does not tell what it got
		at, _ = net.ResolveTCPAddr("tcp", free)
	}
	if at.IP == nil {
		at.IP = net.IPv4zero
	}
	services, bootstrap := filepath.Join(f.dir, "services.yaml"), filepath.Join(f.dir, "envoy.json")
	text := fmt.Sprintf("apps: {%s: {}}\nlisteners: [{address: %q, port: %d}]\n", space, at.IP, at.Port)
	if err := os.WriteFile(services, []byte(text), 0o600); err != nil {
		return p, fmt.Errorf("demo: write the services file: %w", err)
	}
	admin, err := freePorts(1)
	if err != nil {
		return p, err
	}
	config, err := exec.Command(f.opts.Executable, "envoy-bootstrap", "--control-plane="+plane, "--id=front", "--envoy-admin="+admin[0]).Output()
	if err == nil {
		err = os.WriteFile(bootstrap, config, 0o600)
	}
	if err != nil {
		return p, fmt.Errorf("demo: write Envoy's bootstrap: %w", err)
	}
	return frontPlan{services: []string{"--services=" + services}, part: f.part(&part{
		kind: "front", name: "front", listen: at.String(), foreign: true, executable: f.envoy,
		command: []string{"--config-path", bootstrap, "--use-dynamic-base-id", "--concurrency", "2", "--log-level", "warn"},
	})}, nil
}
