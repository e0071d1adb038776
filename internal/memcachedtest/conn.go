package memcachedtest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

const (
	maxLine = 2048    // a longer line that is no get or gets ends the connection, unanswered
	maxGets = 1 << 20 // and so does a get or gets longer than this
	maxKey  = 250
	batch   = 64 << 10 // answers to pipelined commands are sent at the latest when they are this long
)

var errDropped = errors.New("memcachedtest: connection dropped")

// conn is one connection. Its goroutine alone touches it, but for fault and drop.
type conn struct {
	s     *Server
	nc    net.Conn
	m     *memory
	r     *bufio.Reader
	fault atomic.Pointer[func(Command) Action]
	gone  chan struct{}
	once  sync.Once

	text   []byte   // the line
	args   [][]byte // its words, in text
	update update   // what a storage command brought
	out    []byte   // answers not yet sent
	mark   int      // where in out the answer to this command begins
}

func newConn(s *Server, nc net.Conn, m *memory) *conn {
	c := &conn{s: s, nc: nc, m: m, r: bufio.NewReaderSize(nc, maxLine), gone: make(chan struct{})}
	hook := s.fault
	c.fault.Store(&hook)
	m.stats.connections.Add(1)
	return c
}

// drop ends the connection, and what it waits for.
func (c *conn) drop() {
	c.once.Do(func() { close(c.gone) })
	c.nc.Close()
}

// serve answers commands until the connection ends, and closes it.
func (c *conn) serve() {
	defer func() {
		c.nc.Close()
		c.m.stats.connections.Add(-1)
		c.s.forget(c)
	}()
	for {
		err := c.step()
		if err != nil || c.r.Buffered() == 0 || len(c.out) >= batch {
			if flushed := c.flush(); err == nil {
				err = flushed
			}
		}
		if err != nil {
			return
		}
	}
}

func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.nc.Write(c.out)
	c.out, c.mark = c.out[:0], 0
	if cap(c.out) > batch {
		c.out = nil
	}
	return err
}

// step reads one command with its data, does what the fault hook says, and appends the answer to out.
func (c *conn) step() error {
	line, err := c.line()
	if err != nil {
		return err
	}
	args := c.split(line)
	c.mark = len(c.out)
	if len(args) == 0 || len(args[0]) < 2 {
		c.say("ERROR")
		return nil
	}
	cmd, known := commands[string(args[0])]
	if !known && bytes.HasPrefix(args[len(args)-1], []byte("HTTP/")) {
		return errDropped // a browser, or an attack through one
	}
	if !known || len(args) < cmd.min || len(args) > cmd.max {
		c.say("ERROR")
		return nil
	}
	noreply := cmd.noreply && string(args[len(args)-1]) == "noreply"
	action, err := c.answer(cmd, args)
	if err == nil && action.Reply != "" {
		c.out = append(c.out[:c.mark], action.Reply...)
	}
	if noreply || action.Drop == DropAfter {
		c.out = c.out[:c.mark]
	}
	if err == nil && action.Drop == DropAfter {
		err = errDropped
	}
	return err
}

func (c *conn) answer(cmd command, args [][]byte) (Action, error) {
	if cmd.stores {
		if ok, err := c.readUpdate(args); !ok || err != nil {
			return Action{}, err
		}
	}
	action, err := c.act(args, cmd.key)
	if err != nil {
		return action, err
	}
	return action, cmd.run(c, args)
}

func (c *conn) say(text string) {
	c.out = append(append(c.out, text...), "\r\n"...)
}

// line reads up to a newline, and cuts at the first NUL, where memcached's C strings end.
func (c *conn) line() ([]byte, error) {
	part, err := c.r.ReadSlice('\n')
	c.text = append(c.text[:0], part...)
	for errors.Is(err, bufio.ErrBufferFull) {
		start := bytes.TrimLeft(c.text, " ")
		if len(c.text) > maxGets || !bytes.HasPrefix(start, []byte("get ")) && !bytes.HasPrefix(start, []byte("gets ")) {
			return nil, errDropped
		}
		part, err = c.r.ReadSlice('\n')
		c.text = append(c.text, part...)
	}
	if err != nil {
		return nil, err
	}
	line := c.text[:len(c.text)-1]
	if len(line) > 1 && line[len(line)-1] == '\r' {
		line = line[:len(line)-1]
	}
	if i := bytes.IndexByte(line, 0); i >= 0 {
		line = line[:i]
	}
	return line, nil
}

func (c *conn) split(line []byte) [][]byte {
	c.args = c.args[:0]
	for word := range bytes.SplitSeq(line, []byte(" ")) {
		if len(word) > 0 {
			c.args = append(c.args, word)
		}
	}
	return c.args
}

// data reads the data block of n bytes and its end of line; nil when that is missing.
func (c *conn) data(n int) ([]byte, error) {
	block := make([]byte, n+2)
	if _, err := io.ReadFull(c.r, block); err != nil {
		return nil, err
	}
	if block[n] != '\r' || block[n+1] != '\n' {
		return nil, nil
	}
	return block[:n:n], nil
}

// swallow skips data that is not wanted.
func (c *conn) swallow(n int) error {
	_, err := c.r.Discard(n)
	return err
}
