package images_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
)

// imageUser is who runs in images that are not ours, where the service does not say so.
var imageUser = map[string]string{"memcached": "11211:11211"}

// container is a service as a process.
type container struct {
	site    *site
	service types.ServiceConfig
	command []string
	health  *types.HealthCheckConfig
	network string // the namespace
	process *exec.Cmd
	ended   chan struct{}
}

// newContainer takes from the Dockerfile what the service leaves to the image.
func newContainer(s *site, service types.ServiceConfig, ours image) *container {
	c := &container{site: s, service: service, command: service.Command, health: service.HealthCheck, network: service.Name}
	if of, ok := strings.CutPrefix(service.NetworkMode, "service:"); ok {
		c.network = of
	}
	if service.Image != "pillion" {
		return c
	}
	if len(c.command) == 0 {
		c.command = ours.cmd
	}
	c.command = append(append([]string(nil), ours.entrypoint...), c.command...)
	if c.service.User == "" {
		c.service.User = ours.user
	}
	if c.health == nil {
		c.health = &types.HealthCheckConfig{Test: ours.health}
	}
	return c
}

// files are the service's mounts: what it sees where.
func (c *container) files() map[string]string {
	files := map[string]string{"/etc/hosts": c.site.hosts}
	for _, volume := range c.service.Volumes {
		files[volume.Target] = volume.Source
	}
	for _, config := range c.service.Configs {
		files[config.Target] = c.site.project.Configs[config.Source].File
	}
	for _, secret := range c.service.Secrets {
		files["/run/secrets/"+secret.Source] = c.site.project.Secrets[secret.Source].File
	}
	return files
}

// in is a command in the container: in its network, with its files in a tree that is not to be written to, as its user without any capability.
func (c *container) in(command []string) *exec.Cmd {
	uid, gid, _ := strings.Cut(c.user(), ":")
	var b strings.Builder
	fmt.Fprintf(&b, "set -e\nmount -t tmpfs tmpfs /run\nmount -t tmpfs tmpfs /srv\n")
	b.WriteString("for dir in /var/lib/nginx /var/log/nginx; do if [ -d $dir ]; then mount -t tmpfs -o mode=1777 tmpfs $dir; fi; done\n") // Debian's nginx writes there
	for _, tmpfs := range c.service.Tmpfs {
		if target, _, _ := strings.Cut(tmpfs, ":"); target == "/run" {
			b.WriteString("chmod 1777 /run\n")
		}
	}
	for target, source := range c.files() {
		fmt.Fprintf(&b, "mkdir -p %[2]s\ntouch %[1]s\nmount --bind %[3]s %[1]s\n", target, filepath.Dir(target), source)
	}
	if command[0] == "/pillion" {
		fmt.Fprintf(&b, "touch /run/pillion && mount --bind %s /run/pillion\n", pillion)
		command = append([]string{"/run/pillion"}, command[1:]...)
	}
	b.WriteString("mount -o remount,bind,ro /\n")
	fmt.Fprintf(&b, `exec setpriv --reuid %s --regid %s --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs "$@"`, uid, gid)
	cmd := exec.Command("ip", append([]string{"netns", "exec", c.network, "bash", "-c", b.String(), c.service.Name}, command...)...)
	cmd.Env = []string{"PATH=" + path}
	for name, value := range c.service.Environment {
		if value != nil {
			cmd.Env = append(cmd.Env, name+"="+*value)
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (c *container) user() string {
	if c.service.User != "" {
		return c.service.User
	}
	image, _, _ := strings.Cut(c.service.Image, ":")
	return imageUser[image]
}

func (c *container) start(t *testing.T) {
	t.Helper()
	if c.user() == "" {
		t.Fatalf("%s: %s runs as root", c.service.Name, c.service.Image)
	}
	c.process = c.in(c.command)
	c.process.Stdout, c.process.Stderr = t.Output(), t.Output()
	if err := c.process.Start(); err != nil {
		t.Fatal(err)
	}
	process, ended := c.process, make(chan struct{})
	c.ended = ended
	go func() {
		_ = process.Wait()
		close(ended)
	}()
}

// healthy runs the health check.
func (c *container) healthy() bool {
	return c.health != nil && c.health.Test[0] == "CMD" && c.in(c.health.Test[1:]).Run() == nil
}

// stop is `docker stop`: the service's signal, and its grace.
func (c *container) stop(t *testing.T) {
	t.Helper()
	signal := syscall.SIGTERM
	if c.service.StopSignal == "SIGQUIT" {
		signal = syscall.SIGQUIT
	}
	_ = c.process.Process.Signal(signal)
	select {
	case <-c.ended:
	case <-time.After(time.Duration(*c.service.StopGracePeriod)):
		t.Errorf("%s does not end in its stop_grace_period", c.service.Name)
		_ = c.process.Process.Kill()
		<-c.ended
	}
	c.process = nil
}
