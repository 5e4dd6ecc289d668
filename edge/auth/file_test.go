package auth

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// eventually asks until ok, and fails the test if that never is.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// running runs a verifier until the test ends.
func running(t testing.TB, cfg Config) *Verifier {
	t.Helper()
	v := verifier(t, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() { _ = v.Run(ctx) })
	t.Cleanup(func() { cancel(); ended.Wait() })
	return v
}

// takes tells whether a token that was made with a secret is good.
func takes(t testing.TB, v *Verifier, secret []byte) bool {
	t.Helper()
	_, err := v.Verify(t.Context(), sign(t, "HS256", secret, nil))
	return err == nil
}

func replace(t testing.TB, path string, content []byte) {
	t.Helper()
	next := path + ".next"
	if err := os.WriteFile(next, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

func overwrite(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func numbered(n int) []byte { return bytes.Repeat([]byte{byte('a' + n)}, 40) }

func TestFiles_AreReloadedHoweverTheyChange(t *testing.T) {
	path := write(t, numbered(0))
	v := running(t, Config{SecretFiles: []string{path}, FileInterval: time.Millisecond})
	for i, change := range []func(testing.TB, string, []byte){overwrite, replace, overwrite, replace} {
		change(t, path, numbered(i+1))
		eventually(t, "the next secret is taken", func() bool { return takes(t, v, numbered(i+1)) })
		if takes(t, v, numbered(i)) {
			t.Errorf("secret %d is still taken", i)
		}
	}
}

// Kubernetes mounts a Secret as links into a directory that is itself a link, and moves that one.
func TestFiles_FollowLinksThatMove(t *testing.T) {
	dir := t.TempDir()
	version := func(n int) string {
		sub := filepath.Join(dir, "..v"+string(rune('0'+n)))
		if err := os.Mkdir(sub, 0o700); err != nil {
			t.Fatal(err)
		}
		overwrite(t, filepath.Join(sub, "secret"), numbered(n))
		return filepath.Base(sub)
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, name+".next")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, name+".next"), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link(version(0), "..data")
	link(filepath.Join("..data", "secret"), "secret")
	v := running(t, Config{SecretFiles: []string{filepath.Join(dir, "secret")}, FileInterval: time.Millisecond})
	if !takes(t, v, numbered(0)) {
		t.Fatal("the first secret is not taken")
	}
	link(version(1), "..data")
	if err := os.RemoveAll(filepath.Join(dir, "..v0")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the next secret is taken", func() bool { return takes(t, v, numbered(1)) })
}

func TestFiles_KeepTheLastGoodKeys(t *testing.T) {
	good := publicPEM(t, signers()["RS"])
	path := write(t, good)
	var log bytes.Buffer
	var writing sync.Mutex
	v := running(t, Config{KeyFiles: []string{path}, FileInterval: time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(lockedWriter{&writing, &log}, nil))})
	taken := func() bool {
		_, err := v.Verify(t.Context(), sign(t, "RS256", signers()["RS"], nil))
		return err == nil
	}
	failures := 0.0
	for _, broken := range []func(){
		func() { replace(t, path, good[:len(good)/2]) },
		func() { replace(t, path, []byte("no key at all")) },
		func() {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
	} {
		broken()
		failures++
		eventually(t, "the broken file is noticed", func() bool { return testutil.ToFloat64(v.metrics.reloadsFailed) >= failures })
		if !taken() {
			t.Fatal("the last good key is gone")
		}
	}
	replace(t, path, publicPEM(t, signers()["EdDSA"]))
	eventually(t, "the next key is taken", func() bool {
		_, err := v.Verify(t.Context(), sign(t, "EdDSA", signer("EdDSA"), nil))
		return err == nil
	})
	if taken() {
		t.Error("the old key is still taken")
	}
	writing.Lock()
	defer writing.Unlock()
	if lines := strings.Count(log.String(), "level=ERROR"); lines != int(failures) || !strings.Contains(log.String(), path) {
		t.Errorf("each fault is told once, with the file; got %d:\n%s", lines, log.String())
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// A secret that is cut short is a secret too, so what is being written cannot be told from what has been, except by waiting.
func TestFile_WaitsUntilItIsWritten(t *testing.T) {
	whole := bytes.Repeat([]byte("0123456789abcdef"), 8)
	path := write(t, numbered(0))
	f := &file{path: path, parse: secretKey}
	if err := f.load(nil); err != nil {
		t.Fatal(err)
	}
	for n := 40; n <= len(whole); n += 8 {
		overwrite(t, path, whole[:n])
		if changed, err := f.look(nil); changed || err != nil {
			t.Fatalf("took a secret of %d bytes that was being written: %v", n, err)
		}
	}
	if changed, err := f.look(nil); !changed || err != nil {
		t.Fatalf("did not take what had been written: %v", err)
	}
	if got := f.keys[0].value.([]byte); !bytes.Equal(got, whole) {
		t.Errorf("took %d bytes", len(got))
	}
	if changed, err := f.look(nil); changed || err != nil {
		t.Errorf("took it twice: %v", err)
	}
}

func TestSecretFile_ALineEndIsNotPartOfIt(t *testing.T) {
	for _, end := range []string{"", "\n", "\r\n"} {
		v := verifier(t, Config{SecretFiles: []string{write(t, []byte(secret+end))}})
		if !takes(t, v, []byte(secret)) {
			t.Errorf("with %q at its end the secret is another", end)
		}
	}
	if v := verifier(t, Config{SecretFiles: []string{write(t, []byte(secret+"\n\n"))}}); !takes(t, v, []byte(secret+"\n")) {
		t.Error("more than one line end is taken off")
	}
}

func TestKeyFiles_HoldSeveralKeysAndCertificates(t *testing.T) {
	both := append(publicPEM(t, signers()["RS"]), publicPEM(t, signers()["ES256"])...)
	v := verifier(t, Config{KeyFiles: []string{write(t, append([]byte("# two keys\n"), both...)), write(t, certificate(t, signers()["EdDSA"]))}})
	for _, algorithm := range []string{"PS512", "ES256", "EdDSA"} {
		if _, err := v.Verify(t.Context(), sign(t, algorithm, signer(algorithm), nil)); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
}
