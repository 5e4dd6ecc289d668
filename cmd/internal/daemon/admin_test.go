package daemon

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"tidings/configs"
)

// admin serves one until the test ends, and returns a way to ask it.
func admin(t *testing.T, config AdminConfig) (get func(path string) (int, string)) {
	t.Helper()
	listener, err := Listen(t.Context(), "127.0.0.1:0", "--admin")
	if err != nil {
		t.Fatal(err)
	}
	config.Listener, config.Logger, config.Gatherer = listener, quiet, NewRegistry()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	a := NewAdmin(config)
	go func() { served <- a.Run(ctx) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return func(path string) (int, string) {
		response, err := client.Get("http://" + listener.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}
}

func TestAdmin_LiveWhileNotReady(t *testing.T) {
	reasons := []string{"no NATS at nats://127.0.0.1:4222"}
	get := admin(t, AdminConfig{Ready: func() []string { return reasons }})
	if code, body := get("/livez"); code != 200 || body != "ok\n" {
		t.Errorf("/livez: %d %q", code, body)
	}
	if code, body := get("/readyz"); code != 503 || body != `{"ready":false,"reasons":["no NATS at nats://127.0.0.1:4222"]}`+"\n" {
		t.Errorf("/readyz: %d %q", code, body)
	}
	reasons = nil
	if code, body := get("/readyz"); code != 200 || body != `{"ready":true,"reasons":[]}`+"\n" {
		t.Errorf("/readyz: %d %q", code, body)
	}
}

func TestAdmin_ShowsMetricsAndNoMoreThanAskedFor(t *testing.T) {
	ready := func() []string { return nil }
	get := admin(t, AdminConfig{Ready: ready})
	if code, body := get("/metrics"); code != 200 || !strings.Contains(body, "tidings_build_info{") || !strings.Contains(body, "go_goroutines ") {
		t.Errorf("/metrics: %d %q", code, body)
	}
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/cmdline", "/else"} {
		if code, _ := get(path); code != 404 {
			t.Errorf("%s: %d", path, code)
		}
	}
	get = admin(t, AdminConfig{Ready: ready, Pprof: true})
	if code, body := get("/debug/pprof/goroutine?debug=1"); code != 200 || !strings.Contains(body, "goroutine profile") {
		t.Errorf("/debug/pprof/goroutine: %d %q", code, body)
	}
}

func TestReadiness_StoppingIsNotReady(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	ready := Readiness(ctx, Reason(func() error { return nil }), Reason(func() error { return io.EOF }))
	if got := ready(); len(got) != 1 || got[0] != "EOF" {
		t.Errorf("got %q", got)
	}
	cancel()
	if got := ready(); len(got) != 2 || got[0] != "stopping" {
		t.Errorf("got %q", got)
	}
}

func TestListen_TakenPortSaysWhatToDo(t *testing.T) {
	first, err := Listen(t.Context(), "127.0.0.1:0", "--listen")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	_, err = Listen(t.Context(), first.Addr().String(), "--listen")
	if err == nil || !strings.Contains(err.Error(), "choose another address with --listen") || ExitCode(err) != ExitUnavailable || !IsTaken(err) {
		t.Errorf("got %v, exit code %d", err, ExitCode(err))
	}
	if _, err = Listen(t.Context(), "192.0.2.1:0", "--listen"); err == nil || ExitCode(err) != ExitFailure {
		t.Errorf("an address of another machine: %v", err)
	}
}

func TestListenAdmin_AutoTakesAnotherPort(t *testing.T) {
	for range 2 { // whether or not something has the usual port, the second does not get it
		listener, err := ListenAdmin(t.Context(), configs.Admin{Listen: configs.Auto})
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
	}
	if listener, err := ListenAdmin(t.Context(), configs.Admin{Listen: "none"}); listener != nil || err != nil {
		t.Errorf("none: %v, %v", listener, err)
	}
}
