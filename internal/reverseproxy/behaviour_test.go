package reverseproxy

import (
	_ "embed"
	"testing"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/head/enginetest"
)

func build(o head.EngineOptions) enginetest.Engine { return New(o) }

// What net/http decides otherwise than the corpus wants, and this engine cannot change.
//
//go:embed testdata/net_http.txt
var netHTTP string

func TestCorpus(t *testing.T) { enginetest.Corpus(t, build, netHTTP) }
