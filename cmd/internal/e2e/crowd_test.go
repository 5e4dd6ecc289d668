//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// crowd is many clients of one edge. They are raw connections, each of which costs the tests hardly anything.
type crowd []*member

// member is one client of a crowd.
type member struct {
	conn net.Conn
	in   *bufio.Reader // only while somebody reads
}

// gather connects n clients and subscribes each to its topics.
func gather(t testing.TB, edge string, n int, topics func(i int) []string) crowd {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if need := uint64(n + 500); limit.Cur < need {
		lacking(t, fmt.Sprintf("a limit of %d open files", need), fmt.Sprintf("it is %d (ulimit -n %d)", limit.Cur, need))
	}
	all := make(crowd, n)
	t.Cleanup(all.leave)
	var faults sync.Map
	var arriving sync.WaitGroup
	const doors = 16
	for door := range doors {
		arriving.Go(func() {
			for i := door; i < n; i += doors {
				m, err := join(address(edge), topics(i))
				if err != nil {
					faults.Store(i, err)
					return
				}
				all[i] = m
			}
		})
	}
	arriving.Wait()
	faults.Range(func(i, err any) bool {
		t.Fatalf("client %d of %d: %v", i, n, err)
		return false
	})
	return all
}

// leave breaks the connections off, so that none of their ports has to wait (TIME_WAIT): other tests need some too.
func (c crowd) leave() {
	for _, m := range c {
		if m != nil {
			_ = m.conn.(*net.TCPConn).SetLinger(0)
			_ = m.conn.Close()
		}
	}
}

// join upgrades a connection (RFC 6455 §4.1) and subscribes.
func join(host string, topics []string) (*member, error) {
	var conn net.Conn
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		var err error
		if conn, err = net.DialTimeout("tcp", host, patience); err == nil {
			break
		}
		// Other tests of this machine may have used up its ports, for a minute at most.
		if !errors.Is(err, unix.EADDRNOTAVAIL) || time.Now().After(deadline) {
			return nil, err
		}
	}
	m := &member{conn: conn, in: bufio.NewReaderSize(conn, 1<<10)}
	if err := m.join(host, topics); err != nil {
		conn.Close()
		return nil, err
	}
	m.in = nil
	return m, conn.SetDeadline(time.Time{})
}

func (m *member) join(host string, topics []string) error {
	_ = m.conn.SetDeadline(time.Now().Add(patience))
	_, err := fmt.Fprintf(m.conn, "GET /ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: tidings.v1\r\n\r\n", host)
	if err != nil {
		return err
	}
	answer, err := http.ReadResponse(m.in, nil)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("upgrade: %s", answer.Status)
	}
	request := []byte(`{"type":"subscribe","id":1,"topics":[`)
	for i, topic := range topics {
		if i > 0 {
			request = append(request, ',')
		}
		request = strconv.AppendQuote(request, topic)
	}
	if err := m.send(append(request, "]}"...)); err != nil {
		return err
	}
	for {
		text, err := m.read()
		if err != nil {
			return err
		}
		if bytes.HasPrefix(text, []byte(`{"type":"ack"`)) {
			return nil
		}
		if bytes.HasPrefix(text, []byte(`{"type":"error"`)) {
			return fmt.Errorf("subscribe: %s", text)
		}
	}
}

// send writes a text frame (RFC 6455 §5.2), masked with zeros.
func (m *member) send(text []byte) error {
	frame := []byte{0x80 | 1, 0x80 | 126, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(frame[2:], uint16(len(text)))
	_, err := m.conn.Write(append(frame, text...))
	return err
}

// read returns the next text; it is valid until the next call. Pings are passed over: no crowd stays for two heartbeats.
func (m *member) read() ([]byte, error) {
	for {
		head, err := m.in.Peek(2)
		if err != nil {
			return nil, err
		}
		opcode, length, size := head[0]&0xf, int(head[1]), 2
		switch length { // or what stands for a longer one, RFC 6455 §5.2
		case 126:
			if head, err = m.in.Peek(4); err != nil {
				return nil, err
			}
			length, size = int(binary.BigEndian.Uint16(head[2:])), 4
		case 127:
			return nil, io.ErrShortBuffer
		}
		if size+length > m.in.Size() {
			return nil, io.ErrShortBuffer
		}
		frame, err := m.in.Peek(size + length)
		if err != nil {
			return nil, err
		}
		_, _ = m.in.Discard(size + length)
		switch opcode {
		case 1:
			return frame[size:], nil
		case 8:
			return nil, fmt.Errorf("closed: %q", frame[size:])
		}
	}
}

// expect reads until the message {"n":last,…}, and fails unless all from 1 came before it, each once and in order.
func (m *member) expect(last int, deadline time.Time) error {
	m.in = bufio.NewReaderSize(m.conn, 8<<10)
	_ = m.conn.SetReadDeadline(deadline)
	for due := 1; due <= last; {
		text, err := m.read()
		if err != nil {
			return fmt.Errorf("waiting for number %d: %w", due, err)
		}
		_, rest, found := bytes.Cut(text, []byte(`"payload":{"n":`))
		if !found {
			if bytes.HasPrefix(text, []byte(`{"type":"heartbeat"`)) || bytes.HasPrefix(text, []byte(`{"type":"status"`)) {
				continue
			}
			return fmt.Errorf("instead of number %d came %s", due, text)
		}
		digits, _, _ := bytes.Cut(rest, []byte{','})
		if n, err := strconv.Atoi(string(digits)); n != due {
			return fmt.Errorf("instead of number %d came %d %v", due, n, err)
		}
		due++
	}
	return nil
}
