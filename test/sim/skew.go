package sim

import (
	"bytes"
	"context"
	"encoding/binary"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
	"github.com/pillion-proxy/pillion/sidecar"
)

// skewed gives a sidecar a wrong clock. A bubble has one time for all; but what a sidecar's clock says is seen by others only in the
// records it writes. So each time in a record is shifted on its way between engine and store: to everybody else the engine is a
// sidecar whose clock is ahead by that much. So is the birth of a canary, where the clock is wrong by minutes; so are the seconds in an id there.
type skewed struct {
	sidecar.Store
	wrong wrong
}

// wrong is how far a sidecar's clock is ahead. Its hybrid clock may be further ahead: the clock was wrong once and has been set right since,
// which does not turn stamps back.
type wrong struct{ clock, stamps time.Duration }

// farAhead is more than a stamp may be ahead and still raise another sidecar's clock.
const farAhead = 7 * time.Minute

func (s *Scenario) wrong(index int) wrong {
	w := wrong{s.Skew[index], s.Skew[index]}
	if index == s.Far {
		w.stamps += farAhead
	}
	return w
}

// wild tells whether two clocks are further apart than sidecars allow each other: they do not believe each other's calls then.
func (w wrong) wild(other wrong) bool { return (w.clock - other.clock).Abs() > 30*time.Second }

// birth moves the birth in a canary that goes over a wire, as its writer's clock had it or as its reader's has it.
func (w wrong) birth(message []byte) {
	line, rest, ok := bytes.Cut(message, []byte("\r\n"))
	by := w.clock
	if bytes.HasPrefix(line, []byte("VALUE ")) {
		by = -by
	} else if !bytes.HasPrefix(line, []byte("add ")) {
		return
	}
	if !w.wild(wrong{}) || !ok || len(rest) < 16 || !bytes.Contains(line, []byte(" "+canary+" ")) {
		return
	}
	born := rest[8:16]
	binary.BigEndian.PutUint64(born, uint64(int64(binary.BigEndian.Uint64(born))+by.Milliseconds()))
}

// toward turns what a record says into what a sidecar with that clock would make of it.
func (w wrong) toward(r *sessioncodec.Record) *sessioncodec.Record {
	return shift(r, -w.clock, -w.stamps)
}
func (w wrong) from(r *sessioncodec.Record) *sessioncodec.Record { return shift(r, w.clock, w.stamps) }

// mark does the same to an id of shared mode that names a change by its stamp, and, where the clock is wrong by minutes, to the second that an id is of.
func (w wrong) mark(text string, by time.Duration, sticky bool) string {
	id, err := ring.ParseID(text)
	marked := err == nil && !sticky && id.Epoch != 0
	if err != nil || !marked && !w.wild(wrong{}) {
		return text
	}
	const marks = 65535
	if marked {
		id.Epoch = uint16(1 + ((int64(id.Epoch)-1+by.Milliseconds())%marks+marks)%marks)
	}
	if w.wild(wrong{}) {
		id.Issued = uint32(int64(id.Issued) + int64(by/time.Second))
	}
	keys, err := ring.NewKeys(space, secret(0))
	must(err)
	return keys.Sign(id).String()
}

var _ sidecar.Store = skewed{}

func (s skewed) Load(ctx context.Context, id ring.ID, reach store.Reach) (store.Found, error) {
	found, err := s.Store.Load(ctx, id, reach)
	found.Record = s.wrong.toward(found.Record)
	return found, err
}

func (s skewed) Save(ctx context.Context, id ring.ID, w store.Write) (store.Saved, error) {
	join, done := w.Join, w.Done
	w.Join = func(stored *sessioncodec.Record) (*sessioncodec.Record, error) {
		r, err := join(s.wrong.toward(stored))
		return s.wrong.from(r), err
	}
	if forget := w.Forget; forget != nil {
		w.Forget = func(r *sessioncodec.Record) *sessioncodec.Record { return s.wrong.from(forget(s.wrong.toward(r))) }
	}
	if done != nil {
		w.Done = func(saved store.Saved, err error) {
			saved.Record = s.wrong.toward(saved.Record)
			done(saved, err)
		}
	}
	saved, err := s.Store.Save(ctx, id, w)
	saved.Record = s.wrong.toward(saved.Record)
	return saved, err
}

// shift moves every time in a record; nil stays nil.
func shift(r *sessioncodec.Record, by, stamps time.Duration) *sessioncodec.Record {
	if r == nil || by == 0 && stamps == 0 {
		return r
	}
	ms := by.Milliseconds()
	moved := *r
	moved.Created += stamps.Milliseconds() // no stamp is older than its session
	moved.Accessed += ms
	for _, l := range []*sessioncodec.Link{&moved.To, &moved.Prev} {
		if *l != (sessioncodec.Link{}) {
			l.At += ms
			if by.Abs() > time.Minute {
				l.Issued = uint32(int64(l.Issued) + ms/1000)
			}
		}
	}
	moved.Entries = make([]sessioncodec.Entry, len(r.Entries))
	for i, e := range r.Entries {
		e.Stamp.Clock = uint64(int64(e.Stamp.Clock) + stamps.Milliseconds())
		moved.Entries[i] = e
	}
	return &moved
}

// skewedSealer does the same to the records that sidecars hand each other.
type skewedSealer struct {
	sidecar.Sealer
	wrong wrong
}

func (s skewedSealer) Seal(key string, r *sessioncodec.Record) ([]byte, error) {
	return s.Sealer.Seal(key, s.wrong.from(r))
}

func (s skewedSealer) Open(key string, blob []byte) (*sessioncodec.Record, error) {
	r, err := s.Sealer.Open(key, blob)
	return s.wrong.toward(r), err
}
