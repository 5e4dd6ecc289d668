package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tidings/configs"
)

// AdminConfig says what the operator's port shows.
type AdminConfig struct {
	Listener net.Listener // nil: the port stays closed
	Gatherer prometheus.Gatherer
	Ready    func() []string // reasons not to be ready; none: ready
	Pprof    bool            // /debug/pprof answers as well
	Logger   *slog.Logger
}

// Admin is the operator's port: /livez, /readyz, /metrics and, if asked for, /debug/pprof.
type Admin struct {
	listener net.Listener
	server   *http.Server
}

// usualAdmin is what an address of "auto" means, if it is free.
const usualAdmin = "127.0.0.1:8081"

// ListenAdmin opens the port that the configuration asks for; nil if that is none.
func ListenAdmin(ctx context.Context, config configs.Admin) (net.Listener, error) {
	switch {
	case configs.Off(config.Listen):
		return nil, nil
	case config.Listen != configs.Auto:
		return Listen(ctx, config.Listen, "--admin")
	}
	listener, err := Listen(ctx, usualAdmin, "--admin")
	if IsTaken(err) {
		return Listen(ctx, "127.0.0.1:0", "--admin")
	}
	return listener, err
}

// NewAdmin serves nothing before Run.
func NewAdmin(config AdminConfig) *Admin {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "/livez    the process answers\n/readyz   it can do its work, or why not\n/metrics  Prometheus\n")
	})
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		// Nothing is looked at, NATS least of all: a restart would not bring it back, and would cost all connections.
		_, _ = io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("GET /readyz", readyz(config.Ready))
	mux.Handle("GET /metrics", promhttp.HandlerFor(config.Gatherer, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(config.Logger.Handler(), slog.LevelWarn),
		ErrorHandling: promhttp.ContinueOnError,
	}))
	if config.Pprof {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return &Admin{
		listener: config.Listener,
		server: &http.Server{
			Handler:           mux,
			ReadHeaderTimeout: 5 * time.Second,
			IdleTimeout:       time.Minute,
			MaxHeaderBytes:    16 << 10,
			ErrorLog:          slog.NewLogLogger(config.Logger.Handler(), slog.LevelDebug),
		},
	}
}

// Address is where it listens, for the log.
func (a *Admin) Address() string {
	if a.listener == nil {
		return "none"
	}
	return a.listener.Addr().String()
}

// Run serves until ctx ends. What is being answered then has a second to end.
func (a *Admin) Run(ctx context.Context) error {
	if a.listener == nil {
		<-ctx.Done()
		return nil
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if a.server.Shutdown(grace) != nil {
			_ = a.server.Close()
		}
	})
	err := a.server.Serve(a.listener)
	if !stop() {
		<-ended
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func readyz(ready func() []string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		reasons := ready()
		if reasons == nil {
			reasons = []string{}
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if len(reasons) > 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(struct {
			Ready   bool     `json:"ready"`
			Reasons []string `json:"reasons"`
		}{len(reasons) == 0, reasons})
	}
}

// Readiness joins the reasons of several parts; one that stops is never ready, so that no new clients are sent to it.
func Readiness(ctx context.Context, parts ...func() []string) func() []string {
	return func() []string {
		var reasons []string
		if ctx.Err() != nil {
			reasons = append(reasons, "stopping")
		}
		for _, part := range parts {
			reasons = append(reasons, part()...)
		}
		return reasons
	}
}

// Reason makes one of an error.
func Reason(check func() error) func() []string {
	return func() []string {
		if err := check(); err != nil {
			return []string{err.Error()}
		}
		return nil
	}
}
