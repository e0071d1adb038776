package h1

import (
	"testing"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/head/enginetest"
	"github.com/pillion-proxy/pillion/internal/reverseproxy"
)

func build(o head.EngineOptions) enginetest.Engine {
	second := o
	second.TLS, second.Limits.Connections = nil, 0 // it gets the connections decrypted, and counted
	return New(Options{EngineOptions: o, HTTP2: reverseproxy.New(second)})
}

func TestMain(m *testing.M) { enginetest.Main(m, "h1.(*", "reverseproxy.(*", "httputil.") }

func TestBehaviour(t *testing.T) { enginetest.Run(t, build) }

func TestHTTP2(t *testing.T) { enginetest.RunHTTP2(t, build) }

func TestCorpus(t *testing.T) { enginetest.Corpus(t, build, "") }

func FuzzExchange(f *testing.F) { enginetest.Fuzz(f, build) }

func TestChurn(t *testing.T) { enginetest.Churn(t, build, 400) }

// BenchmarkChurn with -benchtime 100000x looks for what a hundred thousand clients leave behind.
func BenchmarkChurn(b *testing.B) { enginetest.Churn(b, build, b.N) }
