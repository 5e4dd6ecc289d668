package bus_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"tidings/bus"
	"tidings/bus/bustest"
)

// guarded is a NATS with a configuration of the test's own, which has %s where its JetStream keeps its data.
type guarded struct {
	*bustest.FileServer
	path string
	dir  string
}

func guard(t *testing.T, config string) *guarded {
	t.Helper()
	g := &guarded{dir: t.TempDir()}
	g.path = g.file(t, "nats.conf", "")
	g.configure(t, config)
	g.FileServer = bustest.NewFromFile(t, g.path)
	return g
}

// configure is in force after a restart.
func (g *guarded) configure(t *testing.T, config string) {
	t.Helper()
	g.file(t, "nats.conf", fmt.Sprintf("jetstream { store_dir: %q }\n%s", filepath.Join(g.dir, "jetstream"), config))
}

// file writes one and returns its path.
func (g *guarded) file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(g.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// spoken is what a line logs.
type spoken struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (s *spoken) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines.Write(p)
}

func (s *spoken) count(words string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.lines.String(), words)
}

func (s *spoken) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines.String()
}

// connect starts a line, which need not come up.
func (g *guarded) connect(t *testing.T, login bus.Login, tls bus.TLS) (*bus.Conn, *spoken) {
	t.Helper()
	said := &spoken{}
	c, err := bus.Connect(t.Context(), bus.Config{
		Servers: []string{g.URL()}, Login: login, TLS: tls, Logger: slog.New(slog.NewTextHandler(said, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, said
}

func ready(t *testing.T, c *bus.Conn) {
	t.Helper()
	if err := c.WaitReady(within(t)); err != nil {
		t.Fatal(err)
	}
}

// nkey is a new user: its public key, and its seed.
func nkey(t *testing.T) (key, seed string) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	s, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	key, err = pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return key, string(s)
}

func TestLogin_PasswordIsReadAnew(t *testing.T) {
	const config = `authorization { user: ada, password: %q }`
	g := guard(t, fmt.Sprintf(config, "old"))
	login := bus.Login{User: "ada", PasswordFile: g.file(t, "password", "old\n")}
	c, _ := g.connect(t, login, bus.TLS{})
	ready(t, c)
	plain, _ := g.connect(t, bus.Login{User: "ada", Password: "old"}, bus.TLS{})
	ready(t, plain)

	g.Stop()
	g.configure(t, fmt.Sprintf(config, "new"))
	g.file(t, "password", "new\n")
	g.Restart(c)
}

func TestLogin_NKeyIsReadAnew(t *testing.T) {
	const config = `authorization { users: [ { nkey: %s } ] }`
	before, seed := nkey(t)
	g := guard(t, fmt.Sprintf(config, before))
	c, _ := g.connect(t, bus.Login{NKey: g.file(t, "seed", seed)}, bus.TLS{})
	ready(t, c)

	after, seed := nkey(t)
	g.Stop()
	g.configure(t, fmt.Sprintf(config, after))
	g.file(t, "seed", seed)
	g.Restart(c)
}

// TestLogin_CredentialsAreReadAnew has NATS in operator mode, as nsc sets it up.
func TestLogin_CredentialsAreReadAnew(t *testing.T) {
	operator, account := must(nkeys.CreateOperator()), must(nkeys.CreateAccount())
	operatorClaims := jwt.NewOperatorClaims(must(operator.PublicKey()))
	claims := jwt.NewAccountClaims(must(account.PublicKey()))
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	system := must(nkeys.CreateAccount())
	systemClaims := jwt.NewAccountClaims(must(system.PublicKey()))
	config := func() string {
		return fmt.Sprintf("operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload { %s: %s, %s: %s }",
			must(operatorClaims.Encode(operator)), systemClaims.Subject,
			systemClaims.Subject, must(systemClaims.Encode(operator)), claims.Subject, must(claims.Encode(operator)))
	}
	credentials := func() (key, file string) {
		key, seed := nkey(t)
		user := must(jwt.NewUserClaims(key).Encode(account))
		return key, string(must(jwt.FormatUserConfig(user, []byte(seed))))
	}

	first, file := credentials()
	g := guard(t, config())
	c, _ := g.connect(t, bus.Login{Credentials: g.file(t, "user.creds", file)}, bus.TLS{})
	ready(t, c)

	g.Stop()
	claims.Revoke(first)
	g.configure(t, config())
	_, file = credentials()
	g.file(t, "user.creds", file)
	g.Restart(c)
}

func TestLogin_RefusedIsSaidOnceAndTriedOn(t *testing.T) {
	g := guard(t, `authorization { user: ada, password: right }`)
	login := bus.Login{User: "ada", PasswordFile: g.file(t, "password", "hunter2")}
	c, said := g.connect(t, login, bus.TLS{})
	eventually(t, "it says why", func() bool { return c.Ready() != nil && strings.Contains(c.Ready().Error(), "Authorization Violation") })
	eventually(t, "it tries on", func() bool { return g.Attempts() > 3 })
	if n := said.count("NATS refuses this login"); n != 1 {
		t.Errorf("it was said %d times:\n%s", n, said.all())
	}
	if said.count("hunter2") > 0 {
		t.Errorf("the password is in the log:\n%s", said.all())
	}
	g.file(t, "password", "right")
	ready(t, c)

	// And so it is for a line that was up.
	g.Stop()
	g.configure(t, `authorization { user: ada, password: another }`)
	g.Restart()
	eventually(t, "it says so again", func() bool { return said.count("level=ERROR") == 2 })
	eventually(t, "it tries on", func() bool { return g.Attempts() > 4 })
	if n := said.count("Authorization Violation") + said.count("authorization violation"); n != 2 || said.count("level=ERROR") != 2 {
		t.Errorf("it was said %d times:\n%s", n, said.all())
	}
}

func TestLogin_ThatMayNotIsToldFromOneThatIsRefused(t *testing.T) {
	g := guard(t, `authorization { users: [ { user: ada, password: right, permissions: { publish: { deny: "tidings.pub.>" } } } ] }`)
	c, said := g.connect(t, bus.Login{User: "ada", Password: "right"}, bus.TLS{})
	ready(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := c.Publish(ctx, "orders.a", []byte("1"), bus.PublishOptions{}); err == nil {
		t.Error("it was published")
	}
	eventually(t, "it says whose fault that is", func() bool { return said.count("NATS does not let this login do that") == 1 })
	if said.count("tidings.pub.orders.a") != 1 || said.count("NATS refuses this login") != 0 || c.Ready() != nil {
		t.Errorf("it says, and is %v:\n%s", c.Ready(), said.all())
	}
}

func TestLogin_SaysWhichFileIsWrong(t *testing.T) {
	g := &guarded{dir: t.TempDir()}
	empty, missing := g.file(t, "empty", "\n"), filepath.Join(g.dir, "missing")
	cert, key := bustest.Certificate(t, g.dir)
	_, seed := nkey(t)
	for _, c := range []struct {
		name  string
		login bus.Login
		tls   bus.TLS
		url   string
		want  []string
	}{
		{"files that are not there", bus.Login{NKey: missing}, bus.TLS{CA: missing, Cert: missing, Key: missing}, "",
			[]string{"nkey: open " + missing, "tls.ca: open " + missing, "tls.cert: open " + missing}},
		{"no credentials", bus.Login{Credentials: missing}, bus.TLS{}, "", []string{"credentials: open " + missing}},
		{"no password", bus.Login{User: "ada", PasswordFile: missing}, bus.TLS{}, "", []string{"password_file: open " + missing}},
		{"files with nothing in them", bus.Login{NKey: empty}, bus.TLS{CA: empty, Cert: empty, Key: empty}, "",
			[]string{"nkey: " + empty + " holds no user's seed", "tls.ca: " + empty + " holds no certificate", "tls.cert: tls: "}},
		{"credentials without a JWT", bus.Login{Credentials: g.file(t, "a", seed)}, bus.TLS{}, "", []string{"credentials: ", "holds no JWT"}},
		{"credentials without a seed", bus.Login{Credentials: g.file(t, "b", "a.b.c")}, bus.TLS{}, "", []string{"credentials: ", "holds no user's seed"}},
		{"two ways at once", bus.Login{User: "ada", NKey: g.file(t, "c", seed)}, bus.TLS{}, "", []string{"credentials: no more than one of"}},
		{"a user in the URL too", bus.Login{User: "ada"}, bus.TLS{}, "nats://ada:hunter2@127.0.0.1", []string{"servers: name a user"}},
		{"a password of nobody", bus.Login{Password: "hunter2"}, bus.TLS{}, "", []string{"user: is missing"}},
		{"two passwords", bus.Login{User: "ada", Password: "hunter2", PasswordFile: empty}, bus.TLS{}, "", []string{"password: "}},
		{"half a certificate", bus.Login{}, bus.TLS{Cert: cert}, "", []string{"tls.key: is missing"}},
		{"the other half", bus.Login{}, bus.TLS{Key: key}, "", []string{"tls.cert: is missing"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := bus.Config{Login: c.login, TLS: c.tls}
			if c.url != "" {
				config.Servers = []string{c.url}
			}
			err := config.Validate()
			if err == nil {
				t.Fatal("nothing is wrong with it")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("a password is told: %v", err)
			}
		})
	}
}

func TestTLS_BothSidesAreChecked(t *testing.T) {
	dir := t.TempDir()
	cert, key := bustest.Certificate(t, dir)
	g := guard(t, fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true, handshake_first: true }", cert, key, cert))

	c, _ := g.connect(t, bus.Login{}, bus.TLS{CA: cert, Cert: cert, Key: key, HandshakeFirst: true})
	ready(t, c)
	for name, wrong := range map[string]bus.TLS{
		"an authority that is not the servers'": {CA: stranger(t), Cert: cert, Key: key, HandshakeFirst: true},
		"no certificate of our own":             {CA: cert, HandshakeFirst: true},
		"another server's name":                 {CA: cert, Cert: cert, Key: key, ServerName: "nats.example.org", HandshakeFirst: true},
	} {
		c, said := g.connect(t, bus.Login{}, wrong)
		eventually(t, "it says why", func() bool { return said.count("level=WARN") > 0 })
		if c.Ready() == nil || said.count("tls: ") == 0 {
			t.Errorf("%s: %v\n%s", name, c.Ready(), said.all())
		}
	}

	// The certificate is replaced.
	g.Stop()
	bustest.Certificate(t, dir)
	g.Restart(c)
}

func TestWrap_IsPutAroundEachConnection_BelowTLS(t *testing.T) {
	cert, key := bustest.Certificate(t, t.TempDir())
	g := guard(t, fmt.Sprintf("tls { cert_file: %q, key_file: %q }", cert, key))
	var wrapped atomic.Int32
	c, err := bus.Connect(t.Context(), bus.Config{
		Servers: []string{g.URL()}, TLS: bus.TLS{CA: cert}, Logger: slog.New(slog.DiscardHandler),
		Wrap: func(c net.Conn) net.Conn {
			if _, plain := c.(*net.TCPConn); plain {
				wrapped.Add(1)
			}
			return c
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ready(t, c)
	first := wrapped.Load()
	g.Stop()
	g.Restart(c)
	if n := wrapped.Load(); first != 1 || n <= first {
		t.Errorf("%d connections were wrapped, and %d after another one", first, n)
	}
}

func TestTLS_NeverFallsBack(t *testing.T) {
	g := guard(t, "")
	cert, _ := bustest.Certificate(t, t.TempDir())
	c, said := g.connect(t, bus.Login{}, bus.TLS{CA: cert})
	eventually(t, "it says why", func() bool { return said.count("secure connection not available") == 1 })
	if c.Ready() == nil {
		t.Error("a server without TLS is taken")
	}
}

// stranger is the certificate of an authority that nobody asked for.
func stranger(t *testing.T) string {
	t.Helper()
	cert, _ := bustest.Certificate(t, t.TempDir())
	return cert
}
