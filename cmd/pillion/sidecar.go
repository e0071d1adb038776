package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/pillion-proxy/pillion/internal/acceptqueue"
	"github.com/pillion-proxy/pillion/internal/admin"
	"github.com/pillion-proxy/pillion/internal/api"
	"github.com/pillion-proxy/pillion/internal/config"
	"github.com/pillion-proxy/pillion/internal/governor"
)

// flushWithin bounds what a leaving sidecar waits for: requests under way, then writes still owed to the ring.
const flushWithin = 10 * time.Second

func newSidecarCommand(e env) *cobra.Command {
	return takesConfig(&cobra.Command{
		Use:   "sidecar",
		Short: "Run beside an app and keep its sessions",
		Long: "A sidecar takes the visitors of one app. It finds the session of each request, hands it to the app in a request header, takes the\n" +
			"app's changes from a response header, and keeps them in a ring of memcached nodes.\n" +
			"Settings come from flags, then PILLION_* variables, then the file. SIGHUP reads them again, SIGTERM drains and ends. It logs JSON to\n" +
			"standard error, and prints the addresses it listens on to standard output.",
		Example: "  pillion sidecar --app shop --upstream http://127.0.0.1:3000 --ring-nodes n1=10.100.0.20:11211 --ring-nodes n2=10.100.0.21:11211 \\\n" +
			"      --keys id=1,file=/etc/pillion/key-1,use=seal\n  pillion sidecar --config /etc/pillion/shop.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := config.Load(args, e.environ)
			if err != nil {
				return err
			}
			return runSidecar(cmd.Context(), c, args, e)
		},
	})
}

// runSidecar wires the packages bottom-up, serves until ctx ends, and takes them down in reverse: first leave the fronts, then finish the
// requests, then bring what memory still owes to the ring.
func runSidecar(ctx context.Context, c *config.Config, args []string, e env) error {
	level := new(slog.LevelVar)
	level.Set(c.Log.Level)
	log := slog.New(slog.NewJSONHandler(e.stderr, &slog.HandlerOptions{Level: level}))
	p, err := newProcess(c, log)
	if err != nil {
		return err
	}
	defer p.close()
	watcher := config.NewWatcher(c, args, e.environ,
		func(change config.Change) { p.reload(change, level) },
		func(err error) {
			p.metrics.ConfigReloads.WithLabelValues("rejected").Inc()
			log.Error("the new configuration is wrong; the old one stays", "error", err)
		})
	p.current = watcher.Current
	if err := p.open(c); err != nil {
		return err
	}

	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	p.store.Start(work)
	var background sync.WaitGroup
	background.Go(func() { governor.Run(work) })
	background.Go(func() { p.handler.Run(work) })
	background.Go(func() { watcher.Run(work) })
	background.Go(func() { onHangup(work, watcher.Reload) })
	background.Go(func() { p.app.run(work) })
	background.Go(func() { p.fleet.run(work) })
	defer background.Wait()
	defer stop()

	p.announce(c)
	failed := p.serve()
	fmt.Fprintf(e.stdout, "listening on %s\nadmin on %s\n", p.data.Addr(), p.admin.Addr())
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	p.drain(c.DrainLinger)
	return nil
}

// open takes the addresses, all of them before any is served, so that a port in use is a clear end and no half start.
func (p *process) open(c *config.Config) (err error) {
	for _, l := range []struct {
		key, address string
		listener     *net.Listener
	}{{"listen", c.Listen, &p.data}, {"admin", c.Admin, &p.admin}, {"api.listen", c.API.Listen, &p.api}} {
		if l.address == "" {
			continue
		}
		if *l.listener, err = listen(l.key, l.address); err != nil {
			return err
		}
	}
	token, err := c.AdminToken()
	if err != nil {
		return err
	}
	if err := p.wireSessions(c); err != nil {
		return err
	}
	p.adminServer.Handler = admin.New(admin.Options{
		Listener: p.admin.Addr(), Hosts: c.AdminHosts, Token: token,
		Readiness: p, Status: p, Sessions: p.operator(), Leaver: p.departure, Metrics: p.registry,
	})
	p.apiServer.Handler = api.New(p.handler)
	return nil
}

// serve starts all listeners; the first that fails says why.
func (p *process) serve() <-chan error {
	failed := make(chan error, 3)
	go serveOn(failed, "data", p.engine.Serve, p.data)
	go serveOn(failed, "admin", p.adminServer.Serve, p.admin)
	if p.api != nil {
		go serveOn(failed, "api", p.apiServer.Serve, p.api)
	}
	return failed
}

// listen takes the address that a setting names.
func listen(key, address string) (net.Listener, error) {
	if file, ok := strings.CutPrefix(address, "unix:"); ok {
		return listenUnix(key, file)
	}
	l, err := acceptqueue.Listen(address)
	if err != nil {
		return nil, hinted{fmt.Errorf("%s: %w", key, err), "another process may have the port; port 0 takes a free one"}
	}
	return l, nil
}

// listenUnix takes a socket's path, also where an earlier process left one that nobody listens on. Who may enter its folder may connect, as with
// a port: what is read there needs the handle of a request.
func listenUnix(key, file string) (net.Listener, error) {
	if info, err := os.Lstat(file); err == nil && info.Mode()&os.ModeSocket != 0 {
		if c, err := net.DialTimeout("unix", file, time.Second); err == nil {
			_ = c.Close()
		} else if errors.Is(err, syscall.ECONNREFUSED) {
			_ = os.Remove(file)
		}
	}
	l, err := net.Listen("unix", file)
	if err == nil {
		err = os.Chmod(file, 0o666)
	}
	if err != nil {
		return nil, hinted{fmt.Errorf("%s: %w", key, err), "another process may have the socket, or its folder may be missing"}
	}
	return l, nil
}

// serveOn tells failed when serving ended for another reason than that it was to end.
func serveOn(failed chan<- error, what string, serve func(net.Listener) error, l net.Listener) {
	if err := serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		failed <- fmt.Errorf("serve %s: %w", what, err)
	}
}

// onHangup reloads at SIGHUP until ctx ends.
func onHangup(ctx context.Context, reload func()) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			reload()
		}
	}
}
