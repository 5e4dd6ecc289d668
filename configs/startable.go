package configs

import (
	"errors"
	"net"
)

// Startable tells what has to be set before an edge may start, as a [Check] does. A configuration that is only printed, to be
// filled in, need not have it.
func (c Edge) Startable() error { return c.startable(c.Tokens) }

// Startable tells what has to be set before everything may start.
func (c Tidings) Startable() error {
	return errors.Join(c.Serving.startable(c.Tokens), c.Reading.startable(c.Tokens))
}

// Startable tells what has to be set before a publisher may start.
func (c Publisher) Startable() error {
	err := c.Reading.startable(c.Tokens)
	if c.Actions.Enabled && c.Actions.AuditFile == "" {
		err = errors.Join(err, errors.New("actions.audit_file: is missing, and no action is done without a record of it: /var/lib/tidings/actions.jsonl is usual"))
	}
	return err
}

// startable holds that actions are done for those alone who can show that they may ask for them.
func (c Reading) startable(t Tokens) error {
	switch {
	case !c.Actions.Enabled:
	case !t.HasKeys():
		return errors.New("actions.enabled: without tokens nobody may act: name the keys of the edges' in tokens, or leave it at false")
	case !c.Docker.Enabled:
		return errors.New("actions.enabled: there is nothing to act on while docker.enabled is false")
	}
	return nil
}

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
