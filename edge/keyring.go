package edge

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// keyring holds the certificate that new connections are shown. Its files are read again and again, which works for whatever way they
// are changed: written in place, renamed, or by the symlinks of a Kubernetes volume. New ones that do not work, such as a certificate
// whose key is not there yet, change nothing. Connections that are open never notice.
type keyring struct {
	cfg     TLS
	log     *slog.Logger
	metrics *metrics

	// Any goroutine.
	current atomic.Pointer[tls.Config]

	// Of whoever looks.
	seen [sha256.Size]byte // of the files that were tried last
}

// reload is how a change of the files ended.
type reload string

const (
	reloadOK     reload = "ok"     // new connections are shown the new certificate
	reloadFailed reload = "failed" // the new files do not work; the old certificate stays
)

var reloads = []reload{reloadOK, reloadFailed}

// newKeyring reads the files; here whatever is wrong with them is an error.
func newKeyring(cfg TLS, m *metrics, log *slog.Logger) (*keyring, error) {
	k := &keyring{cfg: cfg, log: log, metrics: m}
	files, err := k.read()
	if err != nil {
		return nil, err
	}
	config, leaf, err := k.make(files)
	if err != nil {
		return nil, err
	}
	if time.Now().After(leaf.NotAfter) {
		log.Warn("the certificate has expired: clients will not connect", "file", cfg.Cert, "expired", leaf.NotAfter)
	}
	k.use(files, config, leaf)
	return k, nil
}

// config is what a listener needs: it asks the keyring for each handshake.
func (k *keyring) config() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12, // or as the keyring says then
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return k.current.Load(), nil },
	}
}

// run looks at the files now and then, until ctx ends.
func (k *keyring) run(ctx context.Context) {
	tick := time.NewTicker(k.cfg.Reload)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			k.look()
		case <-ctx.Done():
			return
		}
	}
}

// look takes the files if they have changed and work. What does not work is told once.
func (k *keyring) look() {
	files, err := k.read()
	if files.sum() == k.seen {
		return
	}
	if again, _ := k.read(); again.sum() != files.sum() { // read while they were being changed, one old and one new
		return
	}
	k.seen = files.sum()
	var config *tls.Config
	var leaf *x509.Certificate
	if err == nil {
		config, leaf, err = k.make(files)
	}
	if err == nil && time.Now().After(leaf.NotAfter) {
		err = fmt.Errorf("certificate %s expired at %v", k.cfg.Cert, leaf.NotAfter)
	}
	if err != nil {
		k.metrics.reloads[reloadFailed].Inc()
		k.log.Error("the new certificate does not work, the old one stays", "error", err)
		return
	}
	k.use(files, config, leaf)
	k.metrics.reloads[reloadOK].Inc()
	k.log.Info("new certificate", "file", k.cfg.Cert, "expires", leaf.NotAfter)
}

func (k *keyring) use(files files, config *tls.Config, leaf *x509.Certificate) {
	k.seen = files.sum()
	k.current.Store(config)
	k.metrics.certificate.Set(float64(leaf.NotAfter.Unix()))
}

// files is what the files of a keyring hold; nil where one can't be read.
type files struct{ cert, key, clientCA []byte }

func (f files) sum() [sha256.Size]byte {
	return sha256.Sum256(bytes.Join([][]byte{f.cert, f.key, f.clientCA}, []byte{0}))
}

func (k *keyring) read() (f files, err error) {
	get := func(path string) []byte {
		if path == "" {
			return nil
		}
		b, e := os.ReadFile(path)
		if e != nil {
			err = errors.Join(err, fmt.Errorf("read certificates: %w", e))
		}
		return b
	}
	f.cert, f.key, f.clientCA = get(k.cfg.Cert), get(k.cfg.Key), get(k.cfg.ClientCA)
	return f, err
}

// make builds what a handshake needs.
func (k *keyring) make(f files) (*tls.Config, *x509.Certificate, error) {
	pair, err := tls.X509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate %s with key %s: %w", k.cfg.Cert, k.cfg.Key, err)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"http/1.1"}, // WebSockets over HTTP/2 (RFC 8441) are not spoken
	}
	if k.cfg.MinVersion == MinVersion13 {
		config.MinVersion = tls.VersionTLS13
	}
	if k.cfg.ClientCA != "" {
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(f.clientCA) {
			return nil, nil, fmt.Errorf("authorities of clients %s: no certificate in it", k.cfg.ClientCA)
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
		if k.cfg.ClientCert == ClientCertOptional {
			config.ClientAuth = tls.VerifyClientCertIfGiven
		}
	}
	return config, pair.Leaf, nil
}
