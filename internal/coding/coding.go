// Package coding is the content codings (RFC 9110, section 8.4.1) in which a front sends what an app gave it plain: which of them a client
// wants, and a body in it while it streams.
package coding

import (
	"strconv"
	"strings"
)

// Coding is a content coding by the name that it has in fields; Identity is none.
type Coding string

// The codings.
const (
	Identity Coding = ""
	Gzip     Coding = "gzip"
	Zstd     Coding = "zstd"
)

// Choose returns the coding that a client with these Accept-Encoding fields likes best (RFC 9110, section 12.5.3). Of equals zstd goes before
// gzip, for it costs less and packs tighter, and both go before identity. Who says only "*" gets what everyone knows.
func Choose(accept []string) Coding {
	weights := weigh(accept)
	best, weight := Identity, weights.identity
	if weights.gzip > 0 && weights.gzip >= weight {
		best, weight = Gzip, weights.gzip
	}
	if weights.zstd > 0 && weights.zstd >= weight {
		best = Zstd
	}
	return best
}

// weights are thousandths, as exact as RFC 9110 has them.
type weights struct{ gzip, zstd, identity int }

func weigh(accept []string) weights {
	const unsaid = -1
	w, rest := weights{unsaid, unsaid, unsaid}, unsaid
	for _, line := range accept {
		for item := range strings.SplitSeq(line, ",") {
			name, parameter, _ := strings.Cut(item, ";")
			weight, ok := weightOf(parameter)
			if !ok {
				continue
			}
			switch name = strings.Trim(name, " \t"); {
			case strings.EqualFold(name, "gzip"), strings.EqualFold(name, "x-gzip"):
				w.gzip = max(w.gzip, weight)
			case strings.EqualFold(name, "zstd"):
				w.zstd = max(w.zstd, weight)
			case strings.EqualFold(name, "identity"):
				w.identity = max(w.identity, weight)
			case name == "*":
				rest = max(rest, weight)
			}
		}
	}
	if w.gzip == unsaid {
		w.gzip = rest
	}
	return w
}

// weightOf reads what follows the name: nothing, or a qvalue.
func weightOf(parameter string) (thousandths int, ok bool) {
	parameter = strings.Trim(parameter, " \t")
	if parameter == "" {
		return 1000, true
	}
	name, value, _ := strings.Cut(parameter, "=")
	if !strings.EqualFold(name, "q") || len(value) == 0 || len(value) > len("0.000") || strings.Trim(value, "0123456789.") != "" {
		return 0, false
	}
	q, err := strconv.ParseFloat(value, 64)
	return int(q*1000 + 0.5), err == nil && q <= 1
}
