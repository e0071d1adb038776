package h1

import (
	"testing"

	"github.com/pillion-proxy/pillion/internal/h2"
	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/head/enginetest"
)

func build(o head.EngineOptions) enginetest.Engine {
	return New(Options{EngineOptions: o, HTTP2: h2.New(o)})
}

func TestMain(m *testing.M) { enginetest.Main(m, "h1.(*", "h2.(*", "httputil.") }

func TestBehaviour(t *testing.T) { enginetest.Run(t, build) }

func TestHTTP2(t *testing.T) { enginetest.RunHTTP2(t, build, "UnaskedAnswerIsNobodys") }

func TestTLS(t *testing.T) { enginetest.RunTLS(t, build) }

func TestCorpus(t *testing.T) { enginetest.Corpus(t, build) }

func TestCorpusTLS(t *testing.T) { enginetest.CorpusTLS(t, build) }

func FuzzExchange(f *testing.F) { enginetest.Fuzz(f, build) }

func TestChurn(t *testing.T) { enginetest.Churn(t, build, 400) }

// BenchmarkChurn with -benchtime 100000x looks for what a hundred thousand clients leave behind.
func BenchmarkChurn(b *testing.B) { enginetest.Churn(b, build, b.N) }

// docs/decisions/0016-h2spec.md
func TestHTTP2Spec(t *testing.T) {
	enginetest.HTTP2Spec(t, build, map[string]string{
		"tcp/http2/3.5/2": "who does not send the preface is answered in HTTP/1.1 and closed, which h2spec takes for a frame",
		"http2/6.5.3/1":   "net/http refuses a setting that comes twice in one frame",
		"http2/8.1.2.2/1": "net/http answers 400 itself, as RFC 9113, section 8.1.1 allows; the app sees nothing",
		"http2/8.1.2.2/2": "the same",
	})
}
