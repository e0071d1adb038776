package main

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// tomcat is a JVM with the servlet of msm/Server.java.
type tomcat struct {
	*process
	address string
	nodes   []*node // of memcached-session-manager
}

// javaHome is the directory of the servlet, from which it is built.
func javaHome() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	dir := filepath.Join(filepath.Dir(file), "msm")
	if _, err := os.Stat(dir); !ok || err != nil {
		return "", errors.New("bench msm runs from the source tree: go run ./bench msm")
	}
	return dir, nil
}

// buildTomcat gets Tomcat and memcached-session-manager from Maven Central once, and compiles the servlet. It returns the class path.
func (l *lab) buildTomcat() (string, error) {
	dir, err := javaHome()
	if err != nil {
		return "", err
	}
	jars := filepath.Join(dir, "lib")
	if found, _ := filepath.Glob(filepath.Join(jars, "kryo-serializers-*.jar")); len(found) == 0 {
		progress("getting Tomcat and memcached-session-manager")
		if err := l.run("mvn", "--quiet", "--batch-mode", "--file", filepath.Join(dir, "pom.xml"), "dependency:copy-dependencies", "-DoutputDirectory="+jars); err != nil {
			return "", err
		}
	}
	classes := filepath.Join(l.dir, "classes")
	path := classes + ":" + filepath.Join(jars, "*")
	return path, l.run("javac", "-cp", path, "-d", classes, filepath.Join(dir, "Server.java"))
}

func (l *lab) run(program string, args ...string) error {
	if out, err := exec.CommandContext(l.ctx, program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, out)
	}
	return nil
}

// startTomcat starts one that keeps sessions in its memory, by msm sticky or shared, or leaves them to pillion.
func (l *lab) startTomcat(classPath, sessions string) (*tomcat, error) {
	t := &tomcat{}
	args := []string{"-Xms512m", "-Xmx512m"}
	for _, opened := range []string{"java.base/java.util", "java.base/java.lang", "java.base/java.util.concurrent"} { // kryo looks inside
		args = append(args, "--add-opens", opened+"=ALL-UNNAMED")
	}
	args = append(args, "-Djava.io.tmpdir="+l.dir, "-cp", classPath, "Server", sessions)
	if sessions == "sticky" || sessions == "shared" {
		var err error
		if t.nodes, err = l.startNodes(); err != nil {
			return nil, err
		}
		args = append(args, fmt.Sprintf("n1:%s,n2:%s", t.nodes[0].address, t.nodes[1].address))
	}
	var err error
	if t.process, err = l.start("java", args...); err != nil {
		return nil, err
	}
	if err := t.stdout.SetReadDeadline(time.Now().Add(3 * patience)); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(t.stdout).ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if !ok {
		return nil, fmt.Errorf("tomcat did not start: %w\n%s", err, t.lastWords())
	}
	t.address = address
	return t, nil
}

// seen asks the servlet.
func (t *tomcat) seen() (s seen, err error) {
	resp, err := visitor.Get("http://" + t.address + "/seen")
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return s, err
	}
	if _, err := fmt.Sscan(string(text), &s.requests, &s.sessions, &s.bytes); err != nil {
		return s, fmt.Errorf("the servlet counted %q: %w", text, err)
	}
	return s, nil
}
