package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is for what takes a moment on an idle machine and longer on a busy one.
const patience = 30 * time.Second

// demoFleet is a running `pillion demo`, as its output tells it.
type demoFleet struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{} // closed when its output ended and it is reaped

	mu    sync.Mutex
	parts []demoPart // every announcement, in order
	text  strings.Builder
}

// demoPart is one announcement.
type demoPart struct {
	kind, name, address string
	pid                 int
}

var (
	announcement = regexp.MustCompile(`^(node|app|sidecar|control-plane|front)\s+(\S+)\s+(\S+)\s+pid=(\d+)$`)
	metricsLine  = regexp.MustCompile(`(http://\S+/metrics) \((\w+)\)`)
)

func buildPillion(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "pillion")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// startDemo runs the demo until the test ends, and returns when it said that all parts are up.
func startDemo(t *testing.T, program string, args ...string) *demoFleet {
	t.Helper()
	f := &demoFleet{t: t, cmd: exec.Command(program, append([]string{"demo"}, args...)...), done: make(chan struct{})}
	f.cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir(), "PATH="+os.Getenv("PATH")+":/opt/envoy/bin",
		"PILLION_SESSION_COOKIE=another", "PILLION_STICKY=maybe") // settings of the shell are not the demo's
	out, err := f.cmd.StdoutPipe()
	f.cmd.Stderr = f.cmd.Stdout
	if err == nil {
		err = f.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go f.follow(out)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the demo said:\n%s\n%s", f.said(), f.logged())
		}
		_ = f.cmd.Process.Kill()
		<-f.done
	})
	eventually(t, "the demo is up", func() bool { return metricsLine.MatchString(f.said()) })
	return f
}

func (f *demoFleet) follow(out io.Reader) {
	defer close(f.done)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		f.mu.Lock()
		fmt.Fprintf(&f.text, "%s %s\n", time.Now().Format("05.000"), lines.Text())
		if m := announcement.FindStringSubmatch(lines.Text()); m != nil {
			pid, _ := strconv.Atoi(m[4])
			f.parts = append(f.parts, demoPart{m[1], m[2], m[3], pid})
		}
		f.mu.Unlock()
	}
	_ = f.cmd.Wait()
}

// logged is the end of what each part logged.
func (f *demoFleet) logged() string {
	var all strings.Builder
	if _, dir, ok := strings.Cut(f.said(), "Logs: "); ok {
		files, _ := filepath.Glob(filepath.Join(strings.Fields(dir)[0], "*.log"))
		for _, file := range files {
			text, _ := os.ReadFile(file)
			fmt.Fprintf(&all, "%s:\n%s\n", filepath.Base(file), text[max(0, len(text)-2000):])
		}
	}
	return all.String()
}

func (f *demoFleet) said() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text.String()
}

func (f *demoFleet) announced() []demoPart {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.parts)
}

// part is the newest announcement of a name.
func (f *demoFleet) part(name string) demoPart {
	for _, p := range slices.Backward(f.announced()) {
		if p.name == name {
			return p
		}
	}
	f.t.Helper()
	f.t.Fatalf("%s was not announced", name)
	return demoPart{}
}

// url is where the part serves HTTP.
func (f *demoFleet) url(name string) string {
	address := f.part(name).address
	if strings.HasPrefix(address, "http://") {
		return strings.TrimSuffix(address, "/")
	}
	return "http://" + address
}

// metrics is where the sidecar of that route tells its metrics.
func (f *demoFleet) metrics(route string) string {
	for _, m := range metricsLine.FindAllStringSubmatch(f.said(), -1) {
		if m[2] == route {
			return m[1]
		}
	}
	f.t.Helper()
	f.t.Fatalf("the metrics of %s were not announced", route)
	return ""
}

// kill is kill -9; the process is gone when it returns.
func (f *demoFleet) kill(name string) (killed demoPart) {
	f.t.Helper()
	killed = f.part(name)
	deaths := strings.Count(f.said(), name+" died")
	p, err := os.FindProcess(killed.pid)
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		f.t.Fatalf("kill %s: %v", name, err)
	}
	eventually(f.t, name+" is said to be dead", func() bool { return strings.Count(f.said(), name+" died") > deaths })
	return killed
}

// bounce kills a part and waits until it is announced again, where it was.
func (f *demoFleet) bounce(name string) {
	f.t.Helper()
	old := f.kill(name)
	eventually(f.t, name+" is announced again", func() bool { return f.part(name).pid != old.pid })
	if again := f.part(name); again.address != old.address {
		f.t.Errorf("%s came back at %s, not at %s", name, again.address, old.address)
	}
}

// alive tells whether a process runs; a dead one that nobody has reaped yet does not.
func alive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil || p.Signal(syscall.Signal(0)) != nil {
		return false
	}
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

// eventually polls until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-ticker.C {
		if ok() {
			return
		}
	}
	t.Fatalf("not in time: %s", what)
}
