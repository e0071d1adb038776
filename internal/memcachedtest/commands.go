package memcachedtest

import (
	"bytes"
	"math"
	"strconv"
)

// command is one verb of the protocol. The counts are of words, the verb among them; with others the answer is ERROR.
type command struct {
	min, max int
	key      int // the word that is the first key, 0 for none
	noreply  bool
	stores   bool // a data block follows
	run      func(c *conn, args [][]byte) error
}

var (
	storing = command{min: 5, max: 6, key: 1, noreply: true, stores: true, run: (*conn).store}
	casing  = command{min: 6, max: 7, key: 1, noreply: true, stores: true, run: (*conn).store}

	commands = map[string]command{
		"get":  {min: 2, max: math.MaxInt, key: 1, run: (*conn).get},
		"gets": {min: 2, max: math.MaxInt, key: 1, run: (*conn).get},
		"gat":  {min: 2, max: math.MaxInt, key: 2, run: (*conn).getAndTouch},
		"gats": {min: 2, max: math.MaxInt, key: 2, run: (*conn).getAndTouch},

		"set": storing, "add": storing, "replace": storing, "append": storing, "prepend": storing, "cas": casing,

		"incr":   {min: 3, max: 4, key: 1, noreply: true, run: (*conn).count},
		"decr":   {min: 3, max: 4, key: 1, noreply: true, run: (*conn).count},
		"touch":  {min: 3, max: 4, key: 1, noreply: true, run: (*conn).touch},
		"delete": {min: 2, max: 4, key: 1, noreply: true, run: (*conn).delete},

		"flush_all":   {min: 1, max: 3, noreply: true, run: (*conn).flushAll},
		"verbosity":   {min: 2, max: 3, noreply: true, run: (*conn).verbosity},
		"version":     {min: 1, max: math.MaxInt, run: (*conn).version},
		"stats":       {min: 1, max: 1, run: (*conn).showStats},
		"lru_crawler": {min: 3, max: 3, run: (*conn).metadump},
		"quit":        {min: 1, max: math.MaxInt, run: (*conn).quit},
	}
)

const badLine = "CLIENT_ERROR bad command line format"

func (c *conn) get(args [][]byte) error {
	return c.values(args[1:], len(args[0]) == len("gets"), nil)
}

func (c *conn) getAndTouch(args [][]byte) error {
	exptime, ok := signed(args[1])
	if !ok {
		c.say("CLIENT_ERROR invalid exptime argument")
		return nil
	}
	return c.values(args[2:], len(args[0]) == len("gats"), &exptime)
}

func (c *conn) values(keys [][]byte, withCAS bool, exptime *int32) error {
	for _, key := range keys {
		if len(key) > maxKey {
			c.out = c.out[:c.mark]
			c.say(badLine)
			return nil
		}
		v, ok := c.m.get(key, exptime)
		if !ok {
			continue
		}
		c.out = append(append(c.out, "VALUE "...), key...)
		c.out = strconv.AppendUint(append(c.out, ' '), uint64(v.flags), 10)
		c.out = strconv.AppendInt(append(c.out, ' '), int64(len(v.data)), 10)
		if withCAS {
			c.out = strconv.AppendUint(append(c.out, ' '), v.cas, 10)
		}
		c.out = append(append(append(c.out, "\r\n"...), v.data...), "\r\n"...)
	}
	c.say("END")
	return nil
}

// readUpdate reads the data of a storage command into c.update. Where that fails it has said so, and ok is false; what follows of
// the data is then read as commands, as memcached does it.
func (c *conn) readUpdate(args [][]byte) (ok bool, err error) {
	u, length, ok := parseUpdate(args)
	if !ok {
		c.say(badLine)
		return false, nil
	}
	if reply := c.m.room(u.key, u.flags, length); reply != "" {
		if u.verb == "set" {
			c.m.forget(u.key) // or the old value would pass for what was set
		}
		c.say(reply)
		return false, c.swallow(length + 2)
	}
	if u.data, err = c.data(length); err != nil {
		return false, err
	}
	c.m.stats.sets.Add(1)
	if u.data == nil {
		c.say("CLIENT_ERROR bad data chunk")
	}
	c.update = u
	return u.data != nil, nil
}

func parseUpdate(args [][]byte) (u update, length int, ok bool) {
	flags, okFlags := unsigned(args[2])
	exptime, okExptime := signed(args[3])
	size, okSize := signed(args[4])
	if len(args[1]) > maxKey || !okFlags || !okExptime || !okSize || size < 0 || size > math.MaxInt32-2 {
		return u, 0, false
	}
	u = update{verb: string(args[0]), key: string(args[1]), flags: uint32(flags), exptime: exptime}
	if u.verb == "cas" {
		u.cas, ok = unsigned(args[5])
		return u, int(size), ok
	}
	return u, int(size), true
}

func (c *conn) store([][]byte) error {
	c.say(c.m.store(c.update))
	c.update = update{}
	return nil
}

func (c *conn) count(args [][]byte) error {
	delta, ok := unsigned(args[2])
	switch {
	case len(args[1]) > maxKey:
		c.say(badLine)
	case !ok:
		c.say("CLIENT_ERROR invalid numeric delta argument")
	default:
		c.say(c.m.count(args[1], args[0][0] == 'i', delta))
	}
	return nil
}

func (c *conn) touch(args [][]byte) error {
	exptime, ok := signed(args[2])
	switch {
	case len(args[1]) > maxKey:
		c.say(badLine)
	case !ok:
		c.say("CLIENT_ERROR invalid exptime argument")
	default:
		c.say(c.m.touch(args[1], exptime))
	}
	return nil
}

// delete takes a 0 after the key: once there was a delay, and some clients still send it.
func (c *conn) delete(args [][]byte) error {
	rest := string(bytes.Join(args[2:], []byte(" ")))
	switch {
	case rest != "" && rest != "0" && rest != "noreply" && rest != "0 noreply":
		c.say(badLine + ".  Usage: delete <key> [noreply]")
	case len(args[1]) > maxKey:
		c.say(badLine)
	default:
		c.say(c.m.delete(args[1]))
	}
	return nil
}

func (c *conn) flushAll(args [][]byte) error {
	var delay int32
	if len(args) > 2 || len(args) == 2 && string(args[1]) != "noreply" {
		var ok bool
		if delay, ok = signed(args[1]); !ok {
			c.say("CLIENT_ERROR invalid exptime argument")
			return nil
		}
	}
	c.m.flush(delay)
	c.say("OK")
	return nil
}

// verbosity changes nothing: there is no log.
func (c *conn) verbosity(args [][]byte) error {
	if _, ok := unsigned(args[1]); !ok {
		c.say(badLine)
		return nil
	}
	c.say("OK")
	return nil
}

func (c *conn) version([][]byte) error {
	c.say("VERSION " + version)
	return nil
}

func (c *conn) quit([][]byte) error { return errDropped }
