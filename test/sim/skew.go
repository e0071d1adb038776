package sim

import (
	"context"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
	"github.com/pillion-proxy/pillion/sidecar"
)

// skewed gives a sidecar a wrong clock. A bubble has one time for all; but what a sidecar's clock says is seen by others only in the
// records it writes. So each time in a record is shifted on its way between engine and store: to everybody else the engine is a
// sidecar whose clock is ahead by that much. The seconds in an id and the birth of a canary are not shifted.
type skewed struct {
	sidecar.Store
	ahead time.Duration
}

var _ sidecar.Store = skewed{}

func (s skewed) Load(ctx context.Context, id ring.ID, reach store.Reach) (store.Found, error) {
	found, err := s.Store.Load(ctx, id, reach)
	found.Record = shift(found.Record, -s.ahead)
	return found, err
}

func (s skewed) Save(ctx context.Context, id ring.ID, w store.Write) (store.Saved, error) {
	join, done := w.Join, w.Done
	w.Join = func(stored *sessioncodec.Record) (*sessioncodec.Record, error) {
		r, err := join(shift(stored, -s.ahead))
		return shift(r, s.ahead), err
	}
	if done != nil {
		w.Done = func(saved store.Saved, err error) {
			saved.Record = shift(saved.Record, -s.ahead)
			done(saved, err)
		}
	}
	saved, err := s.Store.Save(ctx, id, w)
	saved.Record = shift(saved.Record, -s.ahead)
	return saved, err
}

// shift moves every time in a record; nil stays nil.
func shift(r *sessioncodec.Record, by time.Duration) *sessioncodec.Record {
	if r == nil || by == 0 {
		return r
	}
	ms := by.Milliseconds()
	moved := *r
	moved.Created += ms
	moved.Accessed += ms
	for _, l := range []*sessioncodec.Link{&moved.To, &moved.Prev} {
		if *l != (sessioncodec.Link{}) {
			l.At += ms
		}
	}
	moved.Entries = make([]sessioncodec.Entry, len(r.Entries))
	for i, e := range r.Entries {
		e.Stamp.Clock = uint64(int64(e.Stamp.Clock) + ms)
		moved.Entries[i] = e
	}
	return &moved
}

// skewedSealer does the same to the records that sidecars hand each other.
type skewedSealer struct {
	sidecar.Sealer
	ahead time.Duration
}

func (s skewedSealer) Seal(key string, r *sessioncodec.Record) ([]byte, error) {
	return s.Sealer.Seal(key, shift(r, s.ahead))
}

func (s skewedSealer) Open(key string, blob []byte) (*sessioncodec.Record, error) {
	r, err := s.Sealer.Open(key, blob)
	return shift(r, -s.ahead), err
}
