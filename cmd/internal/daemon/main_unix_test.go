//go:build unix

package daemon

import (
	"context"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSignals_FirstCancelsSecondExits(t *testing.T) {
	for _, c := range []struct {
		second syscall.Signal
		code   int
	}{{syscall.SIGINT, 130}, {syscall.SIGTERM, 143}} {
		exited := make(chan int, 1)
		ctx, stop := Signals(context.Background(), func(code int) { exited <- code })
		raise(t, syscall.SIGTERM)
		await(t, ctx.Done(), "the first signal did not cancel")
		select {
		case code := <-exited:
			t.Fatalf("the first signal exited with %d", code)
		default:
		}
		raise(t, c.second)
		select {
		case code := <-exited:
			if code != c.code {
				t.Errorf("the second signal, %v, exited with %d, want %d", c.second, code, c.code)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the second signal did not exit")
		}
		stop()
	}
}

func TestSignals_StopEndsTheContext(t *testing.T) {
	ctx, stop := Signals(context.Background(), func(int) {})
	stop()
	await(t, ctx.Done(), "the context outlived stop")
}

func raise(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(syscall.Getpid(), s); err != nil {
		t.Fatal(err)
	}
}

func await(t *testing.T, done <-chan struct{}, fault string) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal(fault)
	}
}
