package h2

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/pillion-proxy/pillion/internal/head"
)

func newTransport(o head.EngineOptions) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Protocols: protocols,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			network, address := addressOf(address)
			conn, err := o.Dial(ctx, network, address)
			if err != nil {
				return nil, &unreachableError{err}
			}
			return conn, nil
		},
		DisableCompression:     true,
		MaxIdleConns:           0, // no limit over all apps
		MaxIdleConnsPerHost:    head.UpstreamKept,
		IdleConnTimeout:        head.UpstreamIdle,
		ResponseHeaderTimeout:  o.UpstreamTimeout,
		MaxResponseHeaderBytes: head.MaxResponseHeader,
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
	return fmt.Sprintf("h2: dial the app: %v", e.error)
}
func (e *unreachableError) Unwrap() error { return e.error }
