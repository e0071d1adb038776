package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// warmTomcat is how long a JVM runs before it is measured, for each path: until then it measures its own compiler.
const warmTomcat = 8 * time.Second

// msmMode is a way to keep sessions of a Tomcat: by msm in it, and by a sidecar before it.
type msmMode struct {
	name     string
	settings []string // of the sidecar
	goal     float64  // what the sidecar may take of what msm adds
	msm      map[string]work
}

// Each is as its manual has it: sticky msm backs up behind the answer, to one node, while the sidecar commits before it, to two; with shared sessions both
// write two copies. msm takes no backup of two requests within one millisecond, so that less than one write a request is right.
var msmModes = []msmMode{
	{"sticky", nil, 1, map[string]work{readPath: {session: true}, writePath: {session: true, writes: 0.5}}},
	{"shared", []string{"--sticky=false"}, 0.15, map[string]work{
		readPath: {session: true, gets: 1.9, writes: 1}, writePath: {session: true, gets: 1.9, writes: 3},
	}},
}

var msmPaths = []struct{ name, path string }{{"read", readPath}, {"write", writePath}}

// hopWork is what the sidecar must be seen doing.
func hopWork(mode msmMode, path string) work {
	w := work{session: true, commit: path == writePath}
	if w.commit {
		w.gets, w.writes = 1.9, 1.9
	} else if mode.name == "shared" {
		w.gets = 1
	}
	return w
}

// msm measures what memcached-session-manager adds to a request of Tomcat, and what a sidecar before a Tomcat without it costs.
func (o options) msm(l *lab) error {
	candidates, err := l.tomcats()
	if err != nil {
		return err
	}
	connections := o.connections[0]
	for _, c := range candidates {
		progress("warming up: %s", c.name)
		if _, err := l.drive(c, connections, warmTomcat); err != nil {
			return err
		}
	}
	s, err := l.drives(candidates, connections, o.rounds, o.turn)
	if err != nil {
		return err
	}
	for _, t := range []table{s.tomcatTable(candidates), s.msmTable()} {
		if err := t.print(os.Stdout); err != nil {
			return err
		}
	}
	return nil
}

// tomcats starts a JVM for each way, and two behind sidecars.
func (l *lab) tomcats() ([]*candidate, error) {
	path, err := l.buildTomcat()
	if err != nil {
		return nil, err
	}
	progress("starting Tomcats")
	alone, err := l.startTomcat(path, "memory")
	if err != nil {
		return nil, err
	}
	all, err := l.candidatesOf("Tomcat alone", "http://"+alone.address, candidate{process: alone.process, app: alone},
		func(string) work { return work{session: true} })
	if err != nil {
		return nil, err
	}
	for _, mode := range msmModes {
		inside, err := l.startTomcat(path, mode.name)
		if err != nil {
			return nil, err
		}
		more, err := l.candidatesOf("msm "+mode.name, "http://"+inside.address, candidate{process: inside.process, app: inside, nodes: inside.nodes},
			func(path string) work { return mode.msm[path] })
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
		if more, err = l.hop(path, mode); err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

// hop starts a Tomcat without sessions and a sidecar before it.
func (l *lab) hop(classPath string, mode msmMode) ([]*candidate, error) {
	behind, err := l.startTomcat(classPath, "pillion")
	if err != nil {
		return nil, err
	}
	nodes, err := l.startNodes()
	if err != nil {
		return nil, err
	}
	s, err := l.startSidecar("http://"+behind.address, "a1", nodes, mode.settings...)
	if err != nil {
		return nil, err
	}
	return l.candidatesOf("Pillion "+mode.name, "http://"+s.address,
		candidate{process: s.process, app: behind, sidecars: []*server{s}, nodes: nodes, behind: behind.process},
		func(path string) work { return hopWork(mode, path) })
}

// candidatesOf makes one for each path of what serves at base, with sessions of its own.
func (l *lab) candidatesOf(name, base string, pattern candidate, does func(path string) work) ([]*candidate, error) {
	cookies, err := newSessions(base, visitors)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	file, err := l.file("cookies "+name, strings.Join(cookies, "\n")+"\n")
	if err != nil {
		return nil, err
	}
	var all []*candidate
	for _, p := range msmPaths {
		c := pattern
		c.name, c.url, c.cookies, c.does = name+", "+p.name, base+p.path, file, does(p.path)
		all = append(all, &c)
	}
	return all, nil
}
