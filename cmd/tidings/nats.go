package main

import (
	"os"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"tidings/bus"
)

// natsFlags are how the tools reach NATS. Each has the name in the environment that edge and publisher know; the password
// has only that, for a command line is everybody's to read.
func natsFlags(flags *pflag.FlagSet, config *bus.Config) {
	text := func(value *string, flag, key, otherwise, usage string) {
		name := "TIDINGS_NATS_" + key
		flags.StringVar(value, flag, environment(name, otherwise), usage+" ("+name+")")
	}
	flags.StringSliceVar(&config.Servers, "nats", strings.Split(environment("TIDINGS_NATS_SERVERS", "nats://127.0.0.1:4222"), ","), "`URL`s of NATS servers (TIDINGS_NATS_SERVERS)")
	text(&config.Prefix, "prefix", "PREFIX", "tidings", "first token of every subject")
	text(&config.Login.Credentials, "nats-credentials", "CREDENTIALS", "", "`FILE` with a user's JWT and seed (.creds)")
	text(&config.Login.NKey, "nats-nkey", "NKEY", "", "`FILE` with a user's nkey seed")
	text(&config.Login.User, "nats-user", "USER", "", "`NAME` of a user; the password is in TIDINGS_NATS_PASSWORD or a file")
	text(&config.Login.PasswordFile, "nats-password-file", "PASSWORD_FILE", "", "`FILE` with the password")
	text(&config.TLS.CA, "nats-ca", "TLS_CA", "", "PEM `FILE` of the authorities to trust")
	text(&config.TLS.Cert, "nats-cert", "TLS_CERT", "", "PEM `FILE` of our certificate")
	text(&config.TLS.Key, "nats-key", "TLS_KEY", "", "PEM `FILE` of its key")
	text(&config.TLS.ServerName, "nats-server-name", "TLS_SERVER_NAME", "", "`NAME` that the servers' certificate has to have")
	text(&config.API, "nats-api", "API", "$JS.API", "JetStream's subjects as this account sees them")
	first := environment("TIDINGS_NATS_TLS_HANDSHAKE_FIRST", "false") == "true"
	flags.BoolVar(&config.TLS.HandshakeFirst, "nats-handshake-first", first, "TLS comes before NATS' greeting (TIDINGS_NATS_TLS_HANDSHAKE_FIRST)")
	config.Login.Password = os.Getenv("TIDINGS_NATS_PASSWORD")
}

// natsArgs are the flags that make a child's line the same. It has our environment, and the password with it.
func natsArgs(config bus.Config) []string {
	return []string{
		"--nats", strings.Join(config.Servers, ","),
		"--prefix", config.Prefix,
		"--nats-credentials", config.Login.Credentials,
		"--nats-nkey", config.Login.NKey,
		"--nats-user", config.Login.User,
		"--nats-password-file", config.Login.PasswordFile,
		"--nats-ca", config.TLS.CA,
		"--nats-cert", config.TLS.Cert,
		"--nats-key", config.TLS.Key,
		"--nats-server-name", config.TLS.ServerName,
		"--nats-api", config.API,
		"--nats-handshake-first=" + strconv.FormatBool(config.TLS.HandshakeFirst),
	}
}
