package reverseproxy

import (
	_ "embed"
	"testing"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/head/enginetest"
)

func build(o head.EngineOptions) enginetest.Engine { return New(o) }

func TestMain(m *testing.M) { enginetest.Main(m, "reverseproxy.(*", "httputil.") }

// A client that ends its own direction gets its answer or none, depending on who is faster: net/http takes it for gone.
func TestBehaviour(t *testing.T) { enginetest.Run(t, build, "HalfClosedClientGetsItsAnswer") }

func TestHTTP2(t *testing.T) { enginetest.RunHTTP2(t, build) }

// What net/http decides otherwise than the corpus wants, and this engine cannot change.
//
//go:embed testdata/net_http.txt
var netHTTP string

func TestCorpus(t *testing.T) { enginetest.Corpus(t, build, netHTTP) }
