package sim

import (
	"strings"
	"time"

	"github.com/pillion-proxy/pillion/sessioncodec"
)

// mostDeletions is how many deletions a session remembers that are older than a minute (decision 10).
const mostDeletions = 256

// weigh finds the stored session that remembers most deletions of long ago, at the end of the plot that made so many.
func (w *world) weigh() {
	if w.scenario.Plot != Forgotten {
		return
	}
	codec, _, _ := w.fleet[0].keys(w.settings[0])
	for _, n := range w.nodes {
		for _, key := range n.server.Keys() {
			blob, _ := n.server.Peek(key)
			if !strings.HasPrefix(key, "p1:"+space+":") || strings.Count(key, ":") > 2 {
				continue
			}
			if r, err := codec.Open(key, blob); err == nil {
				w.hoarded = max(w.hoarded, old(r))
			}
		}
	}
}

// old counts the deletions of r that were more than a minute old when it was last refreshed.
func old(r *sessioncodec.Record) (n int) {
	for _, e := range r.Entries {
		if e.Kind == sessioncodec.Deleted && time.Since(time.UnixMilli(int64(e.Stamp.Clock))) > 80*time.Second {
			n++
		}
	}
	return n
}
