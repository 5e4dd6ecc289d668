package nats_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"tidings/bus"
	"tidings/bus/bustest"
)

// TestOperatorMode_OneSigningKeyForAllHosts sets NATS up as README.md says for many hosts: a signing key makes the publishers'
// credentials, and each is bound to its host by its name.
func TestOperatorMode_OneSigningKeyForAllHosts(t *testing.T) {
	dir := t.TempDir()
	operator, system, owner, publishers, role := pair(t, nkeys.CreateOperator), pair(t, nkeys.CreateAccount), pair(t, nkeys.CreateAccount),
		pair(t, nkeys.CreateAccount), pair(t, nkeys.CreateAccount)

	services := map[jwt.Subject]jwt.Subject{ // of the stream's account, and as publishers see them
		"tidings.pub.>":                                 "tidings.pub.>",
		"$JS.API.STREAM.INFO.TIDINGS":                   "tidings.js.STREAM.INFO.TIDINGS",
		"$JS.API.DIRECT.GET.TIDINGS.tidings.pub.host.*": "tidings.js.DIRECT.GET.TIDINGS.tidings.pub.host.$1",
	}
	tidings, hosts := jwt.NewAccountClaims(public(t, owner)), jwt.NewAccountClaims(public(t, publishers))
	tidings.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	for subject, local := range services {
		tidings.Exports.Add(&jwt.Export{Name: string(subject), Subject: subject, Type: jwt.Service})
		hosts.Imports.Add(&jwt.Import{Name: string(subject), Account: tidings.Subject, Subject: subject, LocalSubject: jwt.RenamingSubject(local), Type: jwt.Service})
	}
	scope := jwt.NewUserScope()
	scope.Key, scope.Role = public(t, role), "publisher"
	scope.Template.Pub.Allow.Add("tidings.pub.host.{{name()}}", "tidings.pub.metrics.{{name()}}", "tidings.js.STREAM.INFO.TIDINGS",
		"tidings.js.DIRECT.GET.TIDINGS.tidings.pub.host.{{name()}}", "_R_.>")
	scope.Template.Sub.Allow.Add("_INBOX_tidings.{{name()}}.>", "tidings.act.{{name()}}", "$SRV.>", "$JS.EVENT.ADVISORY.STREAM.*.TIDINGS")
	hosts.SigningKeys.AddScopedSigner(scope)

	config := fmt.Sprintf("jetstream { store_dir: %q }\noperator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload {\n",
		filepath.Join(dir, "jetstream"), encoded(t, jwt.NewOperatorClaims(public(t, operator)), operator), public(t, system))
	for _, account := range []*jwt.AccountClaims{jwt.NewAccountClaims(public(t, system)), tidings, hosts} {
		config += fmt.Sprintf("  %s: %s\n", account.Subject, encoded(t, account, operator))
	}
	path := filepath.Join(dir, "nats.conf")
	if err := os.WriteFile(path, []byte(config+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := bustest.NewFromFile(t, path).URL()

	connect := func(name, account string, signer nkeys.KeyPair, cfg bus.Config) *bus.Conn {
		t.Helper()
		user := pair(t, nkeys.CreateUser)
		claims := jwt.NewUserClaims(public(t, user))
		claims.Name = name
		if account != "" { // signed by a role's key, which brings all permissions
			claims.IssuerAccount, claims.UserPermissionLimits = account, jwt.UserPermissionLimits{}
		}
		seed, err := user.Seed()
		if err != nil {
			t.Fatal(err)
		}
		content, err := jwt.FormatUserConfig(encoded(t, claims, signer), seed)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Servers, cfg.Login.Credentials = []string{url}, filepath.Join(dir, name+".creds")
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
		if err := os.WriteFile(cfg.Login.Credentials, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return ready(t, cfg)
	}
	admin := connect("admin", "", owner, bus.Config{})
	web1 := connect("web-1", hosts.Subject, role, bus.Config{API: "tidings.js", Inbox: "_INBOX_tidings.web-1", Stream: bus.StreamConfig{Manage: bus.ManageOperator}})

	for _, topic := range []bus.Topic{"host.web-1", "metrics.web-1"} {
		if _, err := web1.Publish(t.Context(), topic, []byte(`{}`), bus.PublishOptions{}); err != nil {
			t.Error(err)
		}
	}
	if m, found, err := web1.Newest(t.Context(), "host.web-1"); err != nil || !found || m.Seq != 1 {
		t.Errorf("it reads %v of its own, %v", m, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := web1.Publish(ctx, "metrics.web-2", []byte(`{}`), bus.PublishOptions{}); err == nil {
		t.Error("it publishes for another host")
	}
	if state, err := admin.StreamState(t.Context()); err != nil || state.LastSeq != 2 {
		t.Errorf("the stream is %+v, %v", state, err)
	}
}

func pair(t *testing.T, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	p, err := create()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func public(t *testing.T, p nkeys.KeyPair) string {
	t.Helper()
	key, err := p.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func encoded(t *testing.T, claims jwt.Claims, signer nkeys.KeyPair) string {
	t.Helper()
	token, err := claims.Encode(signer)
	if err != nil {
		t.Fatal(err)
	}
	return token
}
