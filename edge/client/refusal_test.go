package client

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"tidings/edge/wire"
)

func TestClose_StaysAwayOrComesBack(t *testing.T) {
	for _, code := range wire.CloseCodes {
		if code == wire.CloseTooManyRequests {
			continue // comes back, but later than a test likes to wait: TestLater
		}
		t.Run(code.String(), func(t *testing.T) {
			s := newScene(t)
			w := watch(t, s, Config{})
			a := s.enter()
			w.hears("connected to edge-0")
			a.close(code, "because")
			if code.Reconnect() {
				w.hears("disconnected " + code.String())
				s.enter()
				w.hears("connected to edge-0")
				return
			}
			var closed *ClosedError
			if err := w.ends(); !errors.As(err, &closed) || closed.Code != code || closed.Reason != "because" {
				t.Errorf("Run ended with %v", err)
			}
		})
	}
}

func TestRefusal_StaysAwayOrComesBack(t *testing.T) {
	for _, test := range []struct {
		name       string
		status     int
		body       string
		stays      bool // away, at first
		staysLater bool // away, after a connection
	}{
		{"bad request", 400, `{"code":"bad_request","message":"m"}`, true, true},
		{"unauthorized", 401, `{"code":"unauthorized","message":"m"}`, true, true},
		{"forbidden origin", 403, `{"code":"forbidden_origin","message":"m"}`, true, true},
		{"too many", 429, `{"code":"too_many_requests","message":"m"}`, false, false},
		{"full", 503, `{"code":"unavailable","message":"m"}`, false, false},
		{"a wrong address", 404, `<html>`, true, false},
		{"a page", 200, `<html>`, true, false},
		{"a proxy without an edge", 502, `<html>`, false, false},
		{"a proxy that limits", 429, ``, false, false},
	} {
		answer := func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(test.status)
			_, _ = w.Write([]byte(test.body))
		}
		check := func(t *testing.T, s *scene, w *audience, stays bool) {
			if !stays {
				w.hears("disconnected")
				s.enter()
				w.hears("connected to edge-0")
				return
			}
			var refused *RefusedError
			if err := w.ends(); !errors.As(err, &refused) || refused.Status != test.status {
				t.Errorf("Run ended with %v", err)
			}
		}
		t.Run(test.name, func(t *testing.T) {
			s := newScene(t)
			s.refuse <- answer
			check(t, s, watch(t, s, Config{}), test.stays)
		})
		t.Run(test.name+", after a connection", func(t *testing.T) {
			s := newScene(t)
			w := watch(t, s, Config{})
			a := s.enter()
			w.hears("connected to edge-0")
			s.refuse <- answer
			a.drop()
			w.hears("disconnected")
			check(t, s, w, test.staysLater)
		})
	}
}

func TestRefusal_HonoursRetryAfter(t *testing.T) {
	s := newScene(t)
	s.refuse <- func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write(wire.AppendRefusal(nil, wire.Unavailable, "full"))
	}
	began := time.Now()
	w := watch(t, s, Config{})
	s.enter()
	w.hears("disconnected", "connected to edge-0")
	if took := time.Since(began); took < time.Second {
		t.Errorf("came back after %s, was told 1 s", took)
	}
}

func TestLater(t *testing.T) {
	answer := func(after string) error {
		return refused(&http.Response{StatusCode: 503, Header: http.Header{"Retry-After": {after}}, Body: http.NoBody})
	}
	for _, test := range []struct {
		about       string
		err         error
		least, most time.Duration
	}{
		{"seconds", answer("7"), 7 * time.Second, 7 * time.Second},
		{"a date", answer(time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)), 58 * time.Second, time.Minute},
		{"a date that has passed", answer("Mon, 02 Jan 2006 15:04:05 GMT"), 0, 0},
		{"a year", answer("31536000"), maxRetryAfter, maxRetryAfter},
		{"nonsense", answer("soon"), 0, 0},
		{"below zero", answer("-5"), 0, 0},
		{"too many requests", &ClosedError{Code: wire.CloseTooManyRequests}, 5 * time.Second, 5 * time.Second},
		{"draining", &ClosedError{Code: wire.CloseDraining}, 0, 0},
		{"a broken line", errors.New("reset"), 0, 0},
	} {
		if got := later(test.err); got < test.least || got > test.most {
			t.Errorf("%s: %s, want %s to %s", test.about, got, test.least, test.most)
		}
	}
}

func TestBackoff_IsSpreadAndBounded(t *testing.T) {
	bounds := []time.Duration{500, 1000, 2000, 4000, 8000, 16000, 30000, 30000} // ms
	highest, lowest := make([]time.Duration, len(bounds)), make([]time.Duration, len(bounds))
	for range 2000 {
		b := backoff{base: 500 * time.Millisecond, cap: 30 * time.Second}
		for i, bound := range bounds {
			bound *= time.Millisecond
			wait := b.next(0)
			if wait < 0 || wait > bound {
				t.Fatalf("wait %d is %s, bound %s", i, wait, bound)
			}
			highest[i] = max(highest[i], wait*100/bound)
			lowest[i] = max(lowest[i], (bound-wait)*100/bound)
		}
	}
	for i := range bounds {
		if highest[i] < 95 || lowest[i] < 95 {
			t.Errorf("wait %d is not spread over all of its bound: from %d%% to %d%%", i, 100-lowest[i], highest[i])
		}
	}
	b := backoff{base: time.Second, cap: time.Minute, failures: 1000}
	longest := time.Duration(0)
	for range 1000 {
		wait := b.next(time.Hour)
		if wait < time.Hour || wait > time.Hour+time.Minute {
			t.Fatalf("wait after very many failures, at least 1h: %s", wait)
		}
		longest = max(longest, wait)
	}
	if longest < time.Hour+50*time.Second {
		t.Errorf("the longest wait after very many failures is %s", longest)
	}
	b.reset()
	if wait := b.next(0); wait > time.Second {
		t.Errorf("wait after a reset: %s", wait)
	}
}

func TestValidate_NamesEveryFault(t *testing.T) {
	err := Config{URL: "http:///ws", ReadLimit: -1, BackoffCap: -1}.Validate()
	want := "URL: \"http:///ws\" names no host\nReadLimit: -1 is negative\nBackoffCap: -1ns is negative"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	for url, want := range map[string]string{
		"":                     "URL: missing; for example ws://127.0.0.1:8080/ws",
		"ftp://a/ws":           `URL: "ftp://a/ws" begins with none of ws://, wss://, http://, https://`,
		"127.0.0.1:8080":       `URL: parse "127.0.0.1:8080": first path segment in URL cannot contain colon`,
		"ws://127.0.0.1/ws#at": `URL: "ws://127.0.0.1/ws#at" has a fragment, which a socket cannot`,
		"wss://tidings.org/ws": "",
	} {
		err := Config{URL: url}.Validate()
		if got := errorText(err); got != want {
			t.Errorf("%q: %s, want %s", url, got, want)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("New took a config without a URL")
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
