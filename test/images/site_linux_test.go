package images_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
)

// path is where containers look for programs: those of this machine's packages, and Envoy's folder.
var path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"

// site is a compose file at work.
type site struct {
	project    *types.Project
	hosts      string // the file /etc/hosts
	addresses  map[string]netip.Addr
	containers map[string]*container
}

// startSite does what `docker compose up --wait` does.
func startSite(t *testing.T, file string) *site {
	t.Helper()
	key := filepath.Join(t.TempDir(), "key")
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	if err := os.WriteFile(key, []byte(hex.EncodeToString(secret)+"\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(key, 65532, 65532); err != nil {
		t.Fatal(err)
	}
	s := &site{project: loadCompose(t, file, "PILLION_KEY_FILE="+key), addresses: map[string]netip.Addr{}, containers: map[string]*container{}}
	ours := readDockerfile(t)
	for name, service := range s.project.Services {
		s.containers[name] = newContainer(s, service, ours)
	}
	s.wire(t)
	t.Cleanup(func() { s.down(t) })
	s.up(t)
	return s
}

// wire makes the network and the name of each service that has one.
func (s *site) wire(t *testing.T) {
	t.Helper()
	var subnet netip.Prefix
	for name, network := range s.project.Networks {
		if len(network.Ipam.Config) == 1 {
			subnet = netip.MustParsePrefix(network.Ipam.Config[0].Subnet)
		} else if name != "default" {
			t.Fatalf("network %s has no subnet", name)
		}
	}
	gateway := subnet.Addr().Next()
	run(t, "mount", "-t", "tmpfs", "tmpfs", "/run") // iproute2 keeps the names of namespaces there
	run(t, "ip", "link", "set", "lo", "up")
	run(t, "ip", "link", "add", "lan", "type", "bridge")
	run(t, "ip", "address", "add", netip.PrefixFrom(gateway, subnet.Bits()).String(), "dev", "lan")
	run(t, "ip", "link", "set", "lan", "up")
	var hosts strings.Builder
	hosts.WriteString("127.0.0.1 localhost\n")
	free := gateway
	for n, name := range s.project.ServiceNames() {
		service := s.containers[name].service
		if service.NetworkMode != "" {
			continue
		}
		free = free.Next()
		address, names := free, []string{name}
		for _, network := range service.Networks {
			if network != nil && network.Ipv4Address != "" {
				address = netip.MustParseAddr(network.Ipv4Address)
			}
			if network != nil {
				names = append(names, network.Aliases...)
			}
		}
		s.addresses[name] = address
		fmt.Fprintln(&hosts, address, strings.Join(names, " "))
		link := fmt.Sprintf("c%d", n)
		run(t, "ip", "netns", "add", name)
		run(t, "ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
		run(t, "ip", "-n", name, "link", "set", "lo", "up")
		run(t, "ip", "-n", name, "address", "add", netip.PrefixFrom(address, subnet.Bits()).String(), "dev", "eth0")
		run(t, "ip", "-n", name, "link", "set", "eth0", "up")
		run(t, "ip", "link", "set", link, "master", "lan", "up")
		run(t, "ip", "netns", "exec", name, "sysctl", "-q", "-w", "net.ipv4.ip_unprivileged_port_start=0") // as Docker does
	}
	s.hosts = filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(s.hosts, []byte(hosts.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, command ...string) {
	t.Helper()
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(command, " "), err, bytes.TrimSpace(out))
	}
}

// up starts each service when those it depends on are as it wants them, and waits until all are healthy.
func (s *site) up(t *testing.T) {
	t.Helper()
	eventually(t, func() string {
		waiting := ""
		for _, name := range s.project.ServiceNames() {
			if c := s.containers[name]; c.process == nil && s.mayStart(c) {
				c.start(t)
			} else if c.process == nil {
				waiting += " " + name
			}
		}
		return waiting
	})
	for _, name := range s.project.ServiceNames() {
		s.awaitHealth(t, s.containers[name])
	}
}

// mayStart tells whether those that a service depends on have started, and are healthy if it asks for that.
func (s *site) mayStart(c *container) bool {
	for _, name := range c.service.GetDependencies() {
		on := s.containers[name]
		if on.process == nil || c.service.DependsOn[name].Condition == types.ServiceConditionHealthy && !on.healthy() {
			return false
		}
	}
	return true
}

func (s *site) awaitHealth(t *testing.T, c *container) {
	t.Helper()
	eventually(t, func() string {
		if c.healthy() {
			return ""
		}
		return c.service.Name + " to be healthy"
	})
}

// eventually polls until nothing is waited for.
func eventually(t *testing.T, waiting func() string) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := time.Now().Add(30 * time.Second)
	for what := waiting(); what != ""; what = waiting() {
		if time.Now().After(end) {
			t.Fatalf("30 s of waiting for %s", what)
		}
		<-tick.C
	}
}

// down does what `docker compose down` does: whoever depends on others goes before them.
func (s *site) down(t *testing.T) {
	for running := s.running(); len(running) > 0; running = s.running() {
		for _, c := range running {
			if !slices.ContainsFunc(running, func(other *container) bool { return slices.Contains(other.service.GetDependencies(), c.service.Name) }) {
				c.stop(t)
			}
		}
	}
	for name := range s.addresses {
		run(t, "ip", "-n", name, "link", "delete", "eth0") // its other end with it, at once
		run(t, "ip", "netns", "delete", name)
	}
	run(t, "ip", "link", "delete", "lan")
	_ = syscall.Unmount("/run", syscall.MNT_DETACH)
}

func (s *site) running() (running []*container) {
	for _, c := range s.containers {
		if c.process != nil {
			running = append(running, c)
		}
	}
	return running
}
