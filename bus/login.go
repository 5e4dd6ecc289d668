package bus

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// Login is who we are to NATS: nobody (the zero value), or one of credentials, an nkey and a user. Its files are read anew
// for each attempt to connect, so that what an operator replaces there is in force from the next one on.
type Login struct {
	Credentials  string // file with a user's JWT and seed, as nsc writes it (.creds)
	NKey         string // file with a user's seed (SU…)
	User         string
	Password     string
	PasswordFile string // in place of Password; white space around the password is left out
}

// TLS is how the line is encrypted. The zero value leaves it to the servers: those that want TLS, or are written tls://, get
// it, with the system's authorities. Its files are read anew for each attempt to connect.
type TLS struct {
	CA             string // PEM file of the authorities to trust in place of the system's
	Cert, Key      string // PEM files of our own certificate, for servers that ask for one
	ServerName     string // that the server's certificate has to have; default the host that was dialled
	HandshakeFirst bool   // for servers with handshake_first: TLS comes before NATS' own greeting
}

// check tells what is wrong with a login and its files, each fault by its key.
func (l Login) check(servers []string, fault func(ok bool, format string, args ...any)) {
	named := 0
	for _, way := range []string{l.Credentials, l.NKey, l.User} {
		if way != "" {
			named++
		}
	}
	for _, server := range servers {
		u, err := url.Parse(server)
		fault(err != nil || u.User == nil || named == 0, "servers: name a user, and so does one of credentials, nkey, user")
	}
	fault(named <= 1, "credentials: no more than one of credentials, nkey, user says who we are")
	fault(l.User != "" || l.Password == "" && l.PasswordFile == "", "user: is missing, and there is a password")
	fault(l.Password == "" || l.PasswordFile == "", "password: is there, and password_file as well")
	if l.Credentials != "" {
		err := checkCredentials(l.Credentials)
		fault(err == nil, "credentials: %w", err)
	}
	if l.NKey != "" {
		_, err := publicKey(l.NKey)
		fault(err == nil, "nkey: %w", err)
	}
	if l.PasswordFile != "" {
		_, err := os.ReadFile(l.PasswordFile)
		fault(err == nil, "password_file: %w", err)
	}
}

// check tells what is wrong with files, each fault by its key.
func (t TLS) check(fault func(ok bool, format string, args ...any)) {
	if t.CA != "" {
		_, err := t.authorities()
		fault(err == nil, "tls.ca: %w", err)
	}
	fault(t.Key != "" || t.Cert == "", "tls.key: is missing, and there is a tls.cert")
	fault(t.Cert != "" || t.Key == "", "tls.cert: is missing, and there is a tls.key")
	if t.Cert != "" && t.Key != "" {
		_, err := t.certificate()
		fault(err == nil, "tls.cert: %w", err)
	}
}

// options are what NATS' client has to know.
func (l Login) options(dialer *dialer) []nats.Option {
	switch {
	case l.Credentials != "":
		return []nats.Option{nats.UserCredentials(l.Credentials)}
	case l.NKey != "":
		dialer.seed = l.NKey
		return []nats.Option{func(o *nats.Options) (err error) {
			o.Nkey, err = publicKey(l.NKey)
			o.SignatureCB = func(nonce []byte) ([]byte, error) { return sign(l.NKey, nonce) }
			return err
		}}
	case l.PasswordFile != "":
		var last string
		return []nats.Option{nats.UserInfoHandler(func() (string, string) {
			if content, err := os.ReadFile(l.PasswordFile); err == nil { // otherwise the one before may still do
				last = string(bytes.TrimSpace(content))
			}
			return l.User, last
		})}
	case l.User != "":
		return []nats.Option{nats.UserInfo(l.User, l.Password)}
	}
	return nil
}

func (t TLS) options() []nats.Option {
	if t == (TLS{}) {
		return nil
	}
	options := []nats.Option{nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName})}
	var certificate nats.TLSCertHandler
	var authorities nats.RootCAsHandler
	if t.Cert != "" {
		certificate = t.certificate
	}
	if t.CA != "" {
		authorities = t.authorities
	}
	if certificate != nil || authorities != nil {
		options = append(options, nats.ClientTLSConfig(certificate, authorities))
	}
	if t.HandshakeFirst {
		options = append(options, nats.TLSHandshakeFirst())
	}
	return options
}

func (t TLS) certificate() (tls.Certificate, error) { return tls.LoadX509KeyPair(t.Cert, t.Key) }

func (t TLS) authorities() (*x509.CertPool, error) {
	content, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", t.CA)
	}
	return pool, nil
}

// dialer opens the connections to the servers. It keeps up with a seed that was replaced: NATS' client asks for a signature at
// each attempt, but for the public key only at the first.
type dialer struct {
	seed string // the file that it is in; none: we are not known by one
	wrap func(net.Conn) net.Conn
	line atomic.Pointer[nats.Conn] // set once it is there
}

// Dial is called with the client's lock held, under which it reads its options too.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	if d.seed != "" {
		key, err := publicKey(d.seed)
		if err != nil {
			return nil, err
		}
		if line := d.line.Load(); line != nil {
			line.Opts.Nkey = key
		}
	}
	c, err := (&net.Dialer{Timeout: dialTimeout}).Dial(network, address)
	if err != nil || d.wrap == nil {
		return c, err
	}
	return d.wrap(c), nil
}

func checkCredentials(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	defer clear(content)
	token, err := nkeys.ParseDecoratedJWT(content) // without marks around it: all of the content
	if err != nil || strings.Count(token, ".") != 2 || strings.ContainsAny(token, " \n") {
		return fmt.Errorf("%s holds no JWT: it should be as nsc writes it", path)
	}
	pair, err := nkeys.ParseDecoratedUserNKey(content)
	if err != nil {
		return fmt.Errorf("%s holds no user's seed: it should be as nsc writes it", path)
	}
	pair.Wipe()
	return nil
}

func publicKey(path string) (string, error) {
	pair, err := seedIn(path)
	if err != nil {
		return "", err
	}
	defer pair.Wipe()
	return pair.PublicKey()
}

func sign(path string, nonce []byte) ([]byte, error) {
	pair, err := seedIn(path)
	if err != nil {
		return nil, err
	}
	defer pair.Wipe()
	return pair.Sign(nonce)
}

func seedIn(path string) (nkeys.KeyPair, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	defer clear(content)
	pair, err := nkeys.ParseDecoratedUserNKey(content)
	if err != nil {
		return nil, fmt.Errorf("%s holds no user's seed (SU…)", path)
	}
	return pair, nil
}

// refused tells that NATS is there, and does not let us in.
func refused(err error) bool {
	for _, e := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
