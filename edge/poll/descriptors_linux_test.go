package poll

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// A client that comes when there is no descriptor is told so at once, instead of waiting in the queue.
func TestAccept_WithoutDescriptorsSaysSo(t *testing.T) {
	l, err := Listen(context.Background(), "127.0.0.1:0", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var far [3]net.Conn
	for i := range far {
		if far[i], err = net.Dial("tcp", l.Addr().String()); err != nil {
			t.Fatal(err)
		}
		defer patient(far[i]).Close()
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = uint64(highest(t)) + 10
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	var taken []int
	for err = error(nil); err == nil; {
		var fd int
		if fd, err = unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
			taken = append(taken, fd)
		}
	}
	if got := Descriptors(); got != int(few.Cur) {
		t.Errorf("there are %d descriptors", got)
	}
	batch := make([]Accepted, 4)
	for range 2 {
		if n, err := l.Accept(batch); n != 0 || !errors.Is(err, ErrNoDescriptors) {
			t.Errorf("accepted %d without a descriptor: %v", n, err)
		}
	}
	for _, fd := range taken {
		unix.Close(fd)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	for _, c := range far[:2] {
		if b, err := io.ReadAll(c); err != nil || !bytes.Contains(b, []byte("503")) || !bytes.Contains(b, []byte("Retry-After")) {
			t.Errorf("read %q, %v", b, err)
		}
	}
	if n, err := l.Accept(batch); n != 1 || err != nil {
		t.Fatalf("with descriptors again, accepted %d: %v", n, err)
	}
	batch[0].Close()
}

// highest is the highest descriptor that is open.
func highest(t *testing.T) (fd int) {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range open {
		n, err := strconv.Atoi(entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		fd = max(fd, n)
	}
	return fd
}
