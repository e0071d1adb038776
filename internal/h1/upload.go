package h1

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// lastWrite is how long an upload may still write its last bytes to an app that has already answered.
const lastWrite = 10 * time.Millisecond

var errSlowBody = errors.New("h1: the client's body stopped coming")

// upload is a request's body on its way to the app, in a goroutine beside the one that waits for the answer. Whoever ends the exchange joins
// it first.
type upload struct {
	done  chan struct{}
	read  atomic.Bool // all of it has come from the client
	ended atomic.Bool
	clean bool  // all of it is on its way to the app
	err   error // the client's fault, or the app was too slow
	out   []byte
}

// startUpload begins to pass the body on.
func (x *exchange) startUpload(up *upstream) {
	x.upload = &upload{done: make(chan struct{})}
	x.c.uploading.Store(true)
	x.c.unwatch(asking) // the client is read by one goroutine at a time
	go x.runUpload(x.upload, up)
}

func (x *exchange) runUpload(u *upload, up *upstream) {
	defer close(u.done)
	defer func() {
		if panicked := recover(); panicked != nil {
			x.c.engine.options.Log.Error("panic in an upload", "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
			u.err, u.clean = errBadBody, false
		}
		u.ended.Store(true)
		x.c.uploading.Store(false)
		if u.err != nil {
			up.interrupt() // there will be no answer worth waiting for
		}
	}()
	for u.err == nil {
		part, err := x.body.next()
		if x.body.ended {
			u.read.Store(true) // before the app can have the last of it: its answer may be quicker than we are
		}
		if err == nil {
			err = x.pass(u, up, part)
		} else if errors.Is(err, io.EOF) {
			u.clean = x.passEnd(u, up) == nil
			if x.limit > 0 {
				x.c.until.Store(now() + int64(x.limit))
			}
			return
		} else {
			u.err = blame(err)
		}
		if err != nil {
			return
		}
	}
}

// blame tells what is the client's fault: not that it was interrupted.
func blame(err error) error {
	switch {
	case errors.Is(err, errSlowBody):
		return errSlowBody
	case isTimeout(err):
		return nil
	}
	return errBadBody
}

// pass writes a part to the app. When that does not listen any more its answer may be on the way.
func (x *exchange) pass(u *upload, up *upstream, part []byte) error {
	if x.body.kind == byChunks {
		u.out = appendChunk(u.out[:0], part)
		part = u.out
	}
	return x.passOut(u, up, part)
}

func (x *exchange) passEnd(u *upload, up *upstream) (err error) {
	if x.body.kind != byChunks {
		return nil
	}
	trailer := x.body.trailer()
	trailer.EndTrailer()
	if u.out, err = appendLastChunk(u.out[:0], trailer); err != nil {
		return err
	}
	return x.passOut(u, up, u.out)
}

func (x *exchange) passOut(u *upload, up *upstream, out []byte) error {
	sweeper := &x.c.engine.sweeper
	x.c.bodyStep.to(passing, sweeper)
	_, err := up.nc.Write(out)
	if err != nil && x.c.bodyStep.stay(sweeper)&expired != 0 {
		u.err = errTimedOut
	}
	return err
}

// moreOfRequest reads more of the request's body.
func (x *exchange) moreOfRequest() error {
	sweeper := &x.c.engine.sweeper
	x.c.bodyStep.to(bringing, sweeper)
	err := x.in.fillBody(x.c.nc)
	if err != nil && x.c.bodyStep.stay(sweeper)&expired != 0 {
		err = errSlowBody
	}
	return err
}

// join ends the upload, if it has not ended yet, and waits until it has. It tells whether the app has got the whole body and its connection
// is as it was.
func (u *upload) join(x *exchange, up *upstream) bool {
	interrupted := !u.ended.Load() && !u.endsSoon()
	if interrupted {
		_ = x.c.nc.SetReadDeadline(pastDeadline)
		up.interrupt()
		<-u.done
		_ = x.c.nc.SetReadDeadline(zeroTime)
	}
	<-u.done
	x.c.bodyStep.to(resting, &x.c.engine.sweeper)
	return u.clean && !interrupted
}

// endsSoon waits for an upload that has nothing left to read: as a rule the app has all of it, and only the goroutine does not know yet.
func (u *upload) endsSoon() bool {
	if !u.read.Load() {
		return false
	}
	timer := time.NewTimer(lastWrite)
	defer timer.Stop()
	select {
	case <-u.done:
		return true
	case <-timer.C:
		return false
	}
}
