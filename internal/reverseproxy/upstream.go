package reverseproxy

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

const (
	// dialTimeout is short: the app is on this machine, and who refuses for longer is better answered with a 503.
	dialTimeout = 3 * time.Second
	// upstreamIdle is below the shortest idle timeout in common servers (gunicorn 2 s, Node and uvicorn 5 s). A POST that
	// meets a connection which the app is just closing cannot be sent again, and dialing on this machine costs little.
	upstreamIdle = 1500 * time.Millisecond
	// maxIdlePerApp is the pool of connections to an app.
	maxIdlePerApp = 1024
	// maxResponseHeader is the longest response head (DESIGN 5: it carries a patch of 64 KiB).
	maxResponseHeader = 96 << 10
	// continueAfter is when a body is sent to an app that ignores Expect; curl waits as long.
	continueAfter = time.Second
)

func newTransport(o Options) *http.Transport {
	dial := o.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Protocols: protocols,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			network, address := addressOf(address)
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, &unreachableError{err}
			}
			return conn, nil
		},
		DisableCompression:     true,
		MaxIdleConns:           0, // no limit over all apps
		MaxIdleConnsPerHost:    maxIdlePerApp,
		IdleConnTimeout:        upstreamIdle,
		ResponseHeaderTimeout:  o.UpstreamTimeout,
		ExpectContinueTimeout:  continueAfter,
		MaxResponseHeaderBytes: maxResponseHeader,
		WriteBufferSize:        8 << 10, // a head with its session in one write
		ReadBufferSize:         8 << 10,
	}
}

// unixSuffix marks a host that is the hexadecimal path of a Unix socket: Transport pools connections by host and port, and a
// path is no host. No name ends with an underscore, so nothing else looks like it.
const unixSuffix = ".unix_:0"

// hostOf and addressOf turn an address into a URL's host and back.
func hostOf(to head.To) string {
	if to.Network == "unix" {
		return hex.EncodeToString([]byte(to.Address)) + unixSuffix
	}
	return to.Address
}

func addressOf(host string) (network, address string) {
	if encoded, ok := strings.CutSuffix(host, unixSuffix); ok {
		if path, err := hex.DecodeString(encoded); err == nil {
			return "unix", string(path)
		}
	}
	return "tcp", host
}

// unreachableError is a failed dial: nothing of the request was sent.
type unreachableError struct{ error }

func (e *unreachableError) Error() string {
	return fmt.Sprintf("reverseproxy: dial the app: %v", e.error)
}
func (e *unreachableError) Unwrap() error { return e.error }
