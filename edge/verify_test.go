package edge

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"tidings/edge/auth"
)

// slowVerifier takes a while for each token, whoever waits for it.
type slowVerifier struct {
	takes time.Duration
	asked atomic.Int64
}

func (v *slowVerifier) Verify(context.Context, string) (*auth.Session, error) {
	v.asked.Add(1)
	time.Sleep(v.takes)
	return &auth.Session{}, nil
}

// Tokens of clients that have been told to come again later are not verified any more, or an edge that has fallen behind would
// stay so.
func TestDesk_DoesNotVerifyForWhoHasGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &slowVerifier{takes: 3 * time.Second}
		d := newDesk(v, 10*time.Second, newMetrics(nil), slog.New(slog.DiscardHandler))
		const many = 10 * deskMax
		good, late := 0, 0
		answers := make(chan error, many)
		for range many {
			d.verify("token", func(_ *auth.Session, err error) { answers <- err })
		}
		for range many {
			switch err := <-answers; {
			case err == nil:
				good++
			case errors.Is(err, auth.ErrUnavailable):
				late++
			default:
				t.Errorf("got %v", err)
			}
		}
		// They begin at 0, 3, 6 and 9 s; at 12 s it is too late.
		if good != 4*deskMax || late != many-good || v.asked.Load() != int64(good) {
			t.Errorf("%d were verified, %d given up, and the verifier was asked %d times", good, late, v.asked.Load())
		}
		d.close()
	})
}

// Whoever waits at a desk that closes is let go.
func TestDesk_ClosesUnderWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(&slowVerifier{takes: time.Minute}, time.Hour, newMetrics(nil), slog.New(slog.DiscardHandler))
		ended := make(chan error)
		go func() {
			_, err := d.wait(t.Context(), "token")
			ended <- err
		}()
		synctest.Wait()
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			d.close()
		}()
		if err := <-ended; !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		if _, err := d.wait(t.Context(), "token"); !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("after it was closed: %v", err)
		}
		<-closed
	})
}

// patientVerifier waits for keys that never come.
type patientVerifier struct{ asked, waiting atomic.Int64 }

func (v *patientVerifier) Verify(ctx context.Context, _ string) (*auth.Session, error) {
	v.asked.Add(1)
	v.waiting.Add(1)
	defer v.waiting.Add(-1)
	<-ctx.Done()
	return nil, auth.ErrUnavailable
}

// Who hangs up leaves nothing at the desk, be it their turn or not, and others have theirs.
func TestDesk_KeepsNothingOfWhoHungUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &patientVerifier{}
		m := newMetrics(nil)
		d := newDesk(v, time.Hour, m, slog.New(slog.DiscardHandler))
		const many = 10_000
		began := time.Now()
		var all []*verification
		for range many {
			all = append(all, d.verify("token", func(*auth.Session, error) { t.Error("one that was given up is answered") }))
		}
		synctest.Wait()
		if n := v.waiting.Load(); n != deskMax {
			t.Errorf("%d are being verified", n)
		}
		for _, one := range all[deskMax:] {
			d.giveUp(one)
		}
		if n := d.waiting.Len(); n != 0 {
			t.Errorf("%d wait still", n)
		}
		for _, one := range all[:deskMax] {
			d.giveUp(one)
		}
		synctest.Wait()
		if n := v.waiting.Load(); n != 0 || v.asked.Load() != deskMax || d.busy != 0 || time.Since(began) > 0 {
			t.Errorf("%d are still being verified, %d were, %d are busy, after %v", n, v.asked.Load(), d.busy, time.Since(began))
		}
		ctx, hangUp := context.WithTimeout(t.Context(), time.Second) // over HTTP
		defer hangUp()
		if _, err := d.wait(ctx, "token"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		synctest.Wait()
		if n := v.waiting.Load(); n != 0 {
			t.Errorf("%d are being verified for who asked by HTTP", n)
		}
		if n := testutil.ToFloat64(m.tokens[tokenUnavailable]); n != many+1 {
			t.Errorf("%v are counted", n)
		}
		d.close()
	})
}
