package memtest

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Dial connects to it, over TLS with `-Z`; the certificate is not looked at.
func (r *Real) Dial() (net.Conn, error) {
	dialer := &net.Dialer{Timeout: time.Second}
	if path, ok := strings.CutPrefix(r.Addr, "unix:"); ok {
		return dialer.Dial("unix", path)
	}
	if r.secure {
		return tls.DialWithDialer(dialer, "tcp", r.Addr, &tls.Config{InsecureSkipVerify: true})
	}
	return dialer.Dial("tcp", r.Addr)
}

// answers tells whether it says anything: with `-Y` that is a refusal.
func (r *Real) answers() bool {
	conn, err := r.Dial()
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	fmt.Fprint(conn, "version\r\n")
	_, err = bufio.NewReader(conn).ReadString('\n')
	return err == nil
}

// ask sends one line and hands the answer to read.
func (r *Real) ask(line string, read func(*bufio.Reader) error) {
	r.tb.Helper()
	conn, err := r.Dial()
	if err != nil {
		r.tb.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err = fmt.Fprintf(conn, "%s\r\n", line); err == nil {
		err = read(bufio.NewReader(conn))
	}
	if err != nil {
		r.tb.Fatalf("memcached: %q: %v", line, err)
	}
}

// lines asks a command whose answer ends with END.
func (r *Real) lines(command string) (lines []string) {
	r.tb.Helper()
	r.ask(command, func(answer *bufio.Reader) error {
		for {
			line, err := answer.ReadString('\n')
			if line = strings.TrimRight(line, "\r\n"); err != nil || line == "END" {
				return err
			}
			lines = append(lines, line)
		}
	})
	return lines
}

// Flush is flush_all.
func (r *Real) Flush() {
	r.tb.Helper()
	r.ask("flush_all", func(answer *bufio.Reader) error {
		if line, err := answer.ReadString('\n'); err != nil || line != "OK\r\n" {
			return fmt.Errorf("%q, %w", line, err)
		}
		return nil
	})
}

// Stats is the answer of `stats`.
func (r *Real) Stats() map[string]string {
	r.tb.Helper()
	stats := map[string]string{}
	for _, line := range r.lines("stats") {
		name, value, _ := strings.Cut(strings.TrimPrefix(line, "STAT "), " ")
		stats[name] = value
	}
	return stats
}

// Keys lists what it holds, in order, by its crawler; expired items that nobody asked for since may be among them.
func (r *Real) Keys() (keys []string) {
	r.tb.Helper()
	for _, line := range r.lines("lru_crawler metadump all") {
		escaped, _, _ := strings.Cut(strings.TrimPrefix(line, "key="), " ")
		key, err := url.PathUnescape(escaped)
		if err != nil {
			r.tb.Fatalf("memcached: metadump: %q: %v", line, err)
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// Get reads one value.
func (r *Real) Get(key string) (value []byte, ok bool) {
	r.tb.Helper()
	r.ask("get "+key, func(answer *bufio.Reader) error {
		line, err := answer.ReadString('\n')
		fields := strings.Fields(line)
		if err != nil || len(fields) != 4 {
			return err
		}
		size, err := strconv.Atoi(fields[3])
		if err != nil {
			return err
		}
		value, ok = make([]byte, size), true
		_, err = io.ReadFull(answer, value)
		return err
	})
	return value, ok
}
