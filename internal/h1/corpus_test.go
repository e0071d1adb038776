package h1

import (
	"testing"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/head/enginetest"
)

func build(o head.EngineOptions) enginetest.Engine { return New(Options{EngineOptions: o}) }

func TestCorpus(t *testing.T) { enginetest.Corpus(t, build, "") }
