package memcached

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/bradfitz/gomemcache/memcache"
)

var (
	// errForeign: the connection is out of step (M5).
	errForeign = errors.New("memcached: the node answered for another key")
	errGarbage = errors.New("memcached: the node's answer makes no sense")
)

// readReply reads the answer to q. Said is an answer that is no value and no acknowledgement: a miss, a conflict, or what the node denies. After
// a broken one nobody knows what the next bytes belong to.
func readReply(r *bufio.Reader, q question, large func(bool)) (answer item, said, broken error) {
	line, err := readLine(r)
	switch {
	case err != nil:
		return item{}, nil, err
	case bytes.HasPrefix(line, []byte("SERVER_ERROR ")):
		return item{}, fmt.Errorf("memcached: the node said %q", line), nil
	case q.op != opGet:
		said, broken = readStatus(line, q.op)
		return item{}, said, broken
	case string(line) == "END":
		return item{}, memcache.ErrCacheMiss, nil
	}
	size, cas, err := readHeader(line, q.key)
	if err != nil {
		return item{}, nil, err
	}
	if size > largeValue {
		large(true)
		defer large(false)
	}
	value := make([]byte, size+len("\r\n"))
	if _, err := io.ReadFull(r, value); err != nil {
		return item{}, nil, half(err)
	}
	if !bytes.HasSuffix(value, []byte("\r\n")) {
		return item{}, nil, errGarbage
	}
	if line, err = readLine(r); err != nil {
		return item{}, nil, half(err)
	}
	if string(line) != "END" {
		return item{}, nil, errGarbage
	}
	return item{hit: true, value: value[:size:size], cas: cas}, nil, nil
}

// readLine reads a line without its end. It is good until the next read.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, errGarbage
	case err != nil && len(line) > 0:
		return nil, half(err)
	case err != nil:
		return nil, err
	case !bytes.HasSuffix(line, []byte("\r\n")):
		return nil, errGarbage
	}
	return line[:len(line)-len("\r\n")], nil
}

// half makes the end of a connection within an answer what it is: not the end of one that had lain idle for too long.
func half(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readStatus reads the answer to a value that was to be stored.
func readStatus(line []byte, op operation) (said, broken error) {
	switch status := string(line); {
	case status == "STORED":
		return nil, nil
	case status == "NOT_STORED" && op == opAdd:
		return memcache.ErrNotStored, nil
	case status == "EXISTS" && op == opCAS:
		return memcache.ErrCASConflict, nil
	case status == "NOT_FOUND" && op == opCAS:
		return memcache.ErrCacheMiss, nil
	}
	return nil, fmt.Errorf("%w: %.40q", errGarbage, line)
}

// readHeader reads VALUE <key> <flags> <bytes> <cas>.
func readHeader(line []byte, key string) (size int, cas uint64, err error) {
	rest, ok := bytes.CutPrefix(line, []byte("VALUE "))
	if !ok {
		return 0, 0, fmt.Errorf("%w: %.40q", errGarbage, line)
	}
	name, rest, _ := bytes.Cut(rest, []byte(" "))
	if string(name) != key {
		return 0, 0, errForeign
	}
	flags, rest, _ := bytes.Cut(rest, []byte(" "))
	length, token, _ := bytes.Cut(rest, []byte(" "))
	_, badFlags := strconv.ParseUint(string(flags), 10, 32)
	n, badLength := strconv.ParseUint(string(length), 10, 32)
	cas, badToken := strconv.ParseUint(string(token), 10, 64)
	if err := errors.Join(badFlags, badLength, badToken); err != nil || n > maxItem {
		return 0, 0, fmt.Errorf("%w: %.80q", errGarbage, line)
	}
	return int(n), cas, nil
}
