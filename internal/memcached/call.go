package memcached

import (
	"strconv"
	"sync"
	"time"
)

// call is one command of a pipeline, and the place for its answer. Between send and done the pipeline alone touches it.
type call struct {
	question
	value  []byte // to be stored
	ttl    int32
	token  uint64 // of a cas
	answer item
	err    error // why there is no answer, or an answer that gomemcache makes an error too: a miss, a conflict
	life   *life
	begun  time.Time
	done   chan *call // has room for it
}

// question is what an answer is read by.
type question struct {
	op  operation
	key string
}

// calls are calls to be used again. Each store has its own.
type calls struct{ free sync.Pool }

func (cs *calls) take(op operation, key string) *call {
	c, ok := cs.free.Get().(*call)
	if !ok {
		c = &call{done: make(chan *call, 1)}
	}
	c.question = question{op, key}
	return c
}

// give takes back a call that nobody looks at any more.
func (cs *calls) give(c *call) {
	*c = call{done: c.done}
	cs.free.Put(c)
}

// appendTo appends the command.
func (c *call) appendTo(b []byte) []byte {
	if c.op == opGet {
		return append(append(append(b, "gets "...), c.key...), "\r\n"...)
	}
	b = append(append(append(append(b, operationNames[c.op]...), ' '), c.key...), " 0 "...)
	b = append(strconv.AppendInt(b, int64(c.ttl), 10), ' ')
	b = strconv.AppendInt(b, int64(len(c.value)), 10)
	if c.op == opCAS {
		b = strconv.AppendUint(append(b, ' '), c.token, 10)
	}
	return append(append(append(b, "\r\n"...), c.value...), "\r\n"...)
}
