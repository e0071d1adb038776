package enginetest

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/pillion-proxy/pillion/internal/head"
)

// behaviours are tests by their names.
type behaviours map[string]func(*testing.T, Build)

// Run is the behaviour suite, without what an engine is known to do otherwise.
func Run(t *testing.T, build Build, except ...string) {
	for _, group := range []behaviours{requests, answers, failures, repeats, drains, tunnels, encodings, timeouts, attacks} {
		for name, test := range group {
			if !slices.Contains(except, name) {
				t.Run(name, func(t *testing.T) { test(t, build) })
			}
		}
	}
}

// RunHTTP2 is the behaviour suite for clients that speak HTTP/2, without what an engine is known to do otherwise.
func RunHTTP2(t *testing.T, build Build, except ...string) {
	for _, group := range []behaviours{requestsOverHTTP2, eitherWay} {
		for name, test := range group {
			if !slices.Contains(except, name) {
				t.Run(name, func(t *testing.T) { test(t, func(o head.EngineOptions) Engine { return spokenTo{build(o)} }) })
			}
		}
	}
}

// RunTLS asks an engine that serves both versions of HTTP over TLS for them.
func RunTLS(t *testing.T, build Build) {
	t.Run("HTTP/1.1", func(t *testing.T) { testTLS(t, build) })
	t.Run("HTTP/2", func(t *testing.T) { testHTTP2(t, build, "https") })
}

// spokenTo is an engine whose clients speak HTTP/2 by prior knowledge.
type spokenTo struct{ Engine }

// eitherWay are the behaviours that a client sees alike in both versions of HTTP.
var eitherWay = behaviours{
	"Forwarded":                       testForwarded,
	"UnixSocket":                      testUnixSocket,
	"Health":                          testHealth,
	"TrailerIsEditedOnce":             testTrailerIsEditedOnce,
	"HandlerEditsAnswers":             testHandlerEditsAnswers,
	"RepliesReplace":                  testRepliesReplace,
	"PanicAfterTheHeadCutsOff":        testPanicAfterTheHeadCutsOff,
	"Streaming":                       testStreaming,
	"LargeBodiesTakeConstantMemory":   testLargeBodiesTakeConstantMemory,
	"EarlyHintsReachAClient":          testEarlyHintsReachAClient,
	"AppFailures":                     testAppFailures,
	"AppDown":                         testAppDown,
	"TruncatedResponses":              testTruncatedResponses,
	"POSTIsNotSentTwice":              testPOSTIsNotSentTwice,
	"ClientLeaves":                    testClientLeaves,
	"ClientLeavesMidway":              testClientLeavesMidway,
	"RequestAndResponseAtTheSameTime": testRequestAndResponseAtTheSameTime,
	"AccessLog":                       testAccessLog,
	"InjectedDial":                    testInjectedDial,
	"RefusedGoesOn":                   testRefusedGoesOn,
	"LostIsTheHandlersToDecide":       testLostIsTheHandlersToDecide,
	"TimeoutIsNotLost":                testTimeoutIsNotLost,
	"NotExecutedGoesOn":               testNotExecutedGoesOn,
	"LoseGivesAnAnswerUp":             testLoseGivesAnAnswerUp,
	"LoseCutsNoAnswerOff":             testLoseCutsNoAnswerOff,
	"DrainDropsNoRequest":             testDrainDropsNoRequest,
	"ShutdownGivesUp":                 testShutdownGivesUp,
	"EncoderChangesBodies":            testEncoderChangesBodies,
	"EncoderOfABrokenBody":            testEncoderOfABrokenBody,
	"TimeoutOfARoute":                 testTimeoutOfARoute,
	"HandlerCannotSplitHeads":         testHandlerCannotSplitHeads,
	"UnaskedAnswerIsNobodys":          testUnaskedAnswerIsNobodys,
}

// Main runs the tests of an engine and fails when they leave a goroutine behind that runs code of it, which shows by words in its stack.
func Main(m *testing.M, words ...string) {
	code := m.Run()
	left := ""
	if !within(patience, func() bool { left = leftovers(words); return left == "" }) {
		fmt.Fprintf(os.Stderr, "goroutines left:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

func leftovers(words []string) string {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if slices.ContainsFunc(words, func(word string) bool { return strings.Contains(stack, word) }) {
			return stack
		}
	}
	return ""
}
