package configs

import (
	"errors"
	"net"
)

// Startable tells what has to be set before an edge may start, as a [Check] does. A configuration that is only printed, to be
// filled in, need not have it.
func (c Edge) Startable() error { return c.startable(c.Tokens) }

// Startable tells what has to be set before everything may start.
func (c Tidings) Startable() error { return c.startable(c.Tokens) }

// startable holds that no edge is open to others by oversight.
func (c Serving) startable(t Tokens) error {
	const remedy = "name them in tokens.secret_files, tokens.key_files or tokens.jwks (`tidings token key` makes some), " +
		"or write none, which lets whoever reaches the address subscribe to everything"
	switch {
	case c.AllowActions && (c.Auth == "none" || c.Auth == Auto && !t.HasKeys()):
		return errors.New("allow_actions: without tokens nobody may act: name the keys of some, or leave it at false")
	case t.HasKeys():
	case c.Auth == "tokens":
		return errors.New("auth: tokens needs keys: " + remedy)
	case c.Auth == Auto && !isLoopback(c.Listen):
		return errors.New("auth: there are no keys, and listen is not this machine's alone: " + remedy)
	}
	return nil
}

// isLoopback tells whether an address is reached from this machine alone. One that is none is a fault of its own.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err != nil || host == "localhost" || ip != nil && ip.IsLoopback()
}
