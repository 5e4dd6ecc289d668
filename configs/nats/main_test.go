package nats_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"go.uber.org/goleak"

	"tidings/bus"
	"tidings/bus/bustest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; none is expected to take that long.
const patience = 10 * time.Second

// house is a nats-server with nats.conf as it is, and its stream.
type house struct {
	t     *testing.T
	url   string
	ca    string            // file
	seeds map[string]string // files, by the names that nats.conf has for the public keys
	admin *bus.Conn
}

func open(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, seeds: map[string]string{}}
	dir := t.TempDir()
	cert, key := bustest.Certificate(t, dir)
	h.ca = cert
	t.Setenv("NATS_SERVER_CERT", cert)
	t.Setenv("NATS_SERVER_KEY", key)
	t.Setenv("NATS_STORE", filepath.Join(dir, "jetstream"))
	for _, name := range []string{"NATS_ADMIN", "NATS_EDGE", "NATS_PUBLISHER_WEB_1", "NATS_PUBLISHER_WEB_2"} {
		pair, err := nkeys.CreateUser()
		if err != nil {
			t.Fatal(err)
		}
		seed, _ := pair.Seed() // of a pair just made there is one
		key, _ := pair.PublicKey()
		h.seeds[name] = filepath.Join(dir, name+".nk")
		if err := os.WriteFile(h.seeds[name], seed, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv(name, key)
	}
	h.url = bustest.NewFromFile(t, "nats.conf").URL()
	h.admin = h.connect("NATS_ADMIN", "_INBOX_admin", "$JS.API", bus.ManageAuto)
	return h
}

// connect is a line as a program of that role has it.
func (h *house) connect(role, inbox, api string, manage bus.Manage) *bus.Conn {
	h.t.Helper()
	return ready(h.t, bus.Config{
		Servers: []string{h.url},
		Login:   bus.Login{NKey: h.seeds[role]},
		TLS:     bus.TLS{CA: h.ca},
		Inbox:   inbox,
		API:     api,
		Stream:  bus.StreamConfig{Manage: manage},
		Logger:  slog.New(slog.NewTextHandler(h.t.Output(), nil)),
	})
}

// ready is a line that is up, with the stream there.
func ready(t *testing.T, cfg bus.Config) *bus.Conn {
	t.Helper()
	c, err := bus.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.WaitReady(ctx); err != nil {
		t.Fatalf("%s: %v", t.Name(), err)
	}
	return c
}

func (h *house) edge() *bus.Conn {
	h.t.Helper()
	return h.connect("NATS_EDGE", "", "tidings.js", bus.ManageOperator)
}

func (h *house) publisher(host string) *bus.Conn {
	h.t.Helper()
	role := "NATS_PUBLISHER_" + strings.ToUpper(strings.ReplaceAll(host, "-", "_"))
	return h.connect(role, "_INBOX_tidings."+host, "tidings.js", bus.ManageOperator)
}

// thief is a bare connection with a role's key, and what NATS refused it.
type thief struct {
	*nats.Conn
	refusals chan error
}

func (h *house) thief(role, inbox string) *thief {
	h.t.Helper()
	key, err := nats.NkeyOptionFromSeed(h.seeds[role])
	if err != nil {
		h.t.Fatal(err)
	}
	refusals, ended := make(chan error, 64), make(chan struct{})
	nc, err := nats.Connect(h.url, key, nats.RootCAs(h.ca), nats.CustomInboxPrefix(inbox),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refusals <- err }),
		nats.ClosedHandler(func(*nats.Conn) { close(ended) }))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		nc.Close()
		<-ended
	})
	return &thief{nc, refusals}
}

// refused waits until NATS has refused what.
func (x *thief) refused(t *testing.T, what string) {
	t.Helper()
	select {
	case err := <-x.refusals:
		if !strings.Contains(strings.ToLower(err.Error()), "permissions violation for "+strings.ToLower(what)) {
			t.Errorf("of %s NATS says: %v", what, err)
		}
	case <-time.After(patience):
		t.Errorf("%s was not refused", what)
	}
}
