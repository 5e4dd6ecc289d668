package poll

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BenchmarkSend holds the ways to send the same bytes to many sockets against each other: what Socket.Write does, and what was
// tried instead of it. It reports the CPU time of the sending thread, in which loopback also does the receiver's part of TCP.
//
//	write    write(2), with the scheduler told before and after
//	raw      write(2) without that
//	send     sendto(2) as Socket.Write does it
//	writev   one writev(2) of the frames as they are, where raw sends a copy that is made once for all
//	uring    IORING_OP_SEND for every socket, submitted together by one io_uring_enter(2)
func BenchmarkSend(b *testing.B) {
	const frame = 640 // bytes of a 512-byte payload on the wire
	for _, frames := range []int{1, 4, 16, 50} {
		pieces := make([][]byte, frames)
		var whole []byte
		for i := range pieces {
			pieces[i] = make([]byte, frame)
			whole = append(whole, pieces[i]...)
		}
		ways := []struct {
			name string
			make func(b *testing.B) func(fds []int32)
		}{
			{"write", func(b *testing.B) func([]int32) {
				return func(fds []int32) {
					for _, fd := range fds {
						if n, err := unix.Write(int(fd), whole); n != len(whole) {
							b.Fatalf("wrote %d of %d: %v", n, len(whole), err)
						}
					}
				}
			}},
			{"raw", func(b *testing.B) func([]int32) {
				return func(fds []int32) {
					for _, fd := range fds {
						n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&whole[0])), uintptr(len(whole)))
						if int(n) != len(whole) {
							b.Fatalf("wrote %d of %d: %v", int(n), len(whole), errno)
						}
					}
				}
			}},
			{"send", func(b *testing.B) func([]int32) {
				return func(fds []int32) {
					for _, fd := range fds {
						if n, err := (Socket{fd: fd}).Write(whole); n != len(whole) {
							b.Fatalf("wrote %d of %d: %v", n, len(whole), err)
						}
					}
				}
			}},
			{"writev", func(b *testing.B) func([]int32) {
				iovs := make([]unix.Iovec, frames)
				for i := range iovs {
					iovs[i].Base = &pieces[i][0]
					iovs[i].SetLen(frame)
				}
				return func(fds []int32) {
					for _, fd := range fds {
						n, _, errno := unix.RawSyscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&iovs[0])), uintptr(frames))
						if int(n) != len(whole) {
							b.Fatalf("wrote %d of %d: %v", int(n), len(whole), errno)
						}
					}
				}
			}},
			{"uring", func(b *testing.B) func([]int32) {
				r := newRing(b)
				return func(fds []int32) { r.send(b, fds, whole) }
			}},
		}
		for _, way := range ways {
			b.Run(fmt.Sprintf("frames=%d/%s", frames, way.name), func(b *testing.B) {
				benchmarkSend(b, way.make(b), len(whole))
			})
		}
	}
}

// sockets are as many as one turn of a loop may serve.
const sockets = ringEntries

func benchmarkSend(b *testing.B, send func([]int32), size int) {
	r := newReaders(b)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var used time.Duration
	var sent int64
	for b.Loop() {
		before := threadTime()
		send(r.fds)
		used += threadTime() - before
		sent += int64(size * len(r.fds))
		for r.got.Load() < sent { // what follows is not to find a full socket
			runtime.Gosched()
		}
	}
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N*len(r.fds)), "cpu-ns/send")
	b.ReportMetric(0, "ns/op")
}

// threadTime is the CPU time of this thread, user's and system's.
func threadTime() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	return time.Duration(ts.Nano())
}

// readers are the other ends: they count what they get.
type readers struct {
	fds []int32 // ours
	got atomic.Int64
}

func newReaders(b *testing.B) *readers {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	r := &readers{}
	for range sockets {
		far, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		near, err := listener.Accept()
		if err != nil {
			b.Fatal(err)
		}
		file, err := near.(*net.TCPConn).File()
		if err != nil {
			b.Fatal(err)
		}
		near.Close()
		if err := unix.SetNonblock(int(file.Fd()), true); err != nil {
			b.Fatal(err)
		}
		r.fds = append(r.fds, int32(file.Fd()))
		done := make(chan struct{})
		go func() {
			defer close(done)
			buf := make([]byte, 64<<10)
			for {
				n, err := far.Read(buf)
				r.got.Add(int64(n))
				if err != nil {
					return
				}
			}
		}()
		b.Cleanup(func() {
			file.Close()
			far.Close()
			<-done
		})
	}
	return r
}

// ring is an io_uring (io_uring_setup(2)), as far as sending needs it.
type ring struct {
	fd        int
	sqTail    *uint32
	sqMask    uint32
	sqArray   []uint32
	entries   []sqe
	cqHead    *uint32
	cqTail    *uint32
	cqMask    uint32
	completed []cqe
	mapped    [][]byte
}

const (
	ringEntries   = 256
	opSend        = 26
	enterGetEvent = 1
	offsetSQEs    = 0x10000000
)

// sqe and cqe are struct io_uring_sqe and io_uring_cqe.
type sqe struct {
	op, flags uint8
	ioprio    uint16
	fd        int32
	off, addr uint64
	len, msg  uint32
	user      uint64
	_         [3]uint64
}

type cqe struct {
	user  uint64
	res   int32
	flags uint32
}

// ringParams is struct io_uring_params.
type ringParams struct {
	sqEntries, cqEntries, flags, cpu, idle, features, wq uint32
	_                                                    [3]uint32
	sq                                                   struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

func newRing(b *testing.B) *ring {
	var p ringParams
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, ringEntries, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		b.Skipf("no io_uring here: %v", os.NewSyscallError("io_uring_setup", errno))
	}
	r := &ring{fd: int(fd)}
	b.Cleanup(func() {
		for _, m := range r.mapped {
			_ = unix.Munmap(m)
		}
		unix.Close(r.fd)
	})
	size := max(int(p.sq.array)+4*int(p.sqEntries), int(p.cq.cqes)+int(unsafe.Sizeof(cqe{}))*int(p.cqEntries))
	rings := r.mmap(b, 0, size)
	at := func(offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&rings[offset])) }
	r.sqTail, r.sqMask = at(p.sq.tail), *at(p.sq.mask)
	r.sqArray = unsafe.Slice(at(p.sq.array), p.sqEntries)
	r.cqHead, r.cqTail, r.cqMask = at(p.cq.head), at(p.cq.tail), *at(p.cq.mask)
	r.completed = unsafe.Slice((*cqe)(unsafe.Pointer(&rings[p.cq.cqes])), p.cqEntries)
	sqes := r.mmap(b, offsetSQEs, int(unsafe.Sizeof(sqe{}))*int(p.sqEntries))
	r.entries = unsafe.Slice((*sqe)(unsafe.Pointer(&sqes[0])), p.sqEntries)
	return r
}

func (r *ring) mmap(b *testing.B, offset int64, size int) []byte {
	m, err := unix.Mmap(r.fd, offset, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		b.Fatal(err)
	}
	r.mapped = append(r.mapped, m)
	return m
}

// send gives all sockets the same bytes, and waits until they have them.
func (r *ring) send(b *testing.B, fds []int32, data []byte) {
	tail := *r.sqTail
	for _, fd := range fds {
		i := tail & r.sqMask
		r.entries[i] = sqe{op: opSend, fd: fd, addr: uint64(uintptr(unsafe.Pointer(&data[0]))), len: uint32(len(data)), msg: unix.MSG_DONTWAIT}
		r.sqArray[i] = i
		tail++
	}
	atomic.StoreUint32(r.sqTail, tail)
	n, _, errno := unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(len(fds)), uintptr(len(fds)), enterGetEvent, 0, 0)
	if int(n) != len(fds) {
		b.Fatalf("submitted %d of %d: %v", int(n), len(fds), errno)
	}
	head := *r.cqHead
	for ; head != atomic.LoadUint32(r.cqTail); head++ {
		if c := r.completed[head&r.cqMask]; int(c.res) != len(data) {
			b.Fatalf("sent %d of %d", c.res, len(data))
		}
	}
	atomic.StoreUint32(r.cqHead, head)
	runtime.KeepAlive(data)
}
