package configs

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// What is checked here is the form of values, and that none is zero by mistake: to the packages that take them zero is
// "the default". What else they have to say about a value joins in by the checks of Load.

func (c Edge) validate(f findings) {
	c.Serving.validate(f)
	f.oneOf("auth", c.Auth, "tokens", "none")
	c.Tokens.validate(f.in("tokens"))
	c.NATS.validate(f.in("nats"))
	c.Stream.validate(f.in("stream"))
	c.Admin.validate(f.in("admin"), false)
	c.Log.validate(f.in("log"))
}

func (c Publisher) validate(f findings) {
	c.Reading.validate(f)
	c.Tokens.validate(f.in("tokens"))
	c.NATS.validate(f.in("nats"))
	c.Stream.validate(f.in("stream"))
	c.Admin.validate(f.in("admin"), false)
	c.Log.validate(f.in("log"))
}

func (c Tidings) validate(f findings) {
	c.Serving.validate(f)
	f.oneOf("auth", c.Auth, "auto", "tokens", "none")
	c.Reading.validate(f)
	c.Tokens.validate(f.in("tokens"))
	c.NATS.validate(f.in("nats"))
	c.Stream.validate(f.in("stream"))
	f.unless(c.Stream.Replicas == 1, "stream.replicas", "a NATS of its own has one copy; write 1, or use the programs edge and publisher with a cluster")
	c.Admin.validate(f.in("admin"), true)
	c.Log.validate(f.in("log"))
}

func (c TokensAlone) validate(f findings) { c.Tokens.validate(f.in("tokens")) }

func (c Serving) validate(f findings) {
	f.address("listen", c.Listen)
	f.unless(c.ExpiryWarning >= 0, "expiry_warning", "cannot be negative")
	positive(f, "heartbeat", c.Heartbeat)
	positive(f, "slow_timeout", c.SlowTimeout)
	positive(f, "handshake_timeout", c.HandshakeTimeout)
	positive(f, "linger", c.Linger)
	f.unless(c.Gather >= 0, "gather", "cannot be negative")
	f.unless(c.DrainWait >= 0, "drain_wait", "cannot be negative")
	positive(f, "drain_window", c.DrainWindow)
	positive(f, "drain_grace", c.DrainGrace)
	f.unless(c.DrainGrace >= c.DrainWindow, "drain_grace", "is shorter than drain_window")
	f.unless(c.MaxAge >= 0, "max_connection_age", "cannot be negative")
	f.unless(c.Loops >= 0, "loops", "cannot be negative")
	positive(f, "send_buffer", c.SendBuffer)
	f.unless(c.GCPercent >= 0, "gc_percent", "cannot be negative")
	f.unless(c.MemoryLimit >= 0, "memory_limit", "cannot be negative")

	c.TLS.validate(f.in("tls"))
	limits := f.in("limits")
	positive(limits, "connections", c.Limits.Connections)
	positive(limits, "connections_per_address", c.Limits.ConnectionsPerAddress)
	positive(limits, "connections_per_user", c.Limits.ConnectionsPerUser)
	positive(limits, "actions_per_user", c.Limits.ActionsPerUser)
	positive(limits, "actions_per_second", c.Limits.ActionsPerSecond)
	positive(limits, "handshakes_per_second", c.Limits.HandshakesPerSecond)
	positive(limits, "handshakes_per_address", c.Limits.HandshakesPerAddress)
	positive(limits, "event_streams", c.Limits.EventStreams)
	positive(limits, "header_bytes", c.Limits.HeaderBytes)
	positive(limits, "headers", c.Limits.Headers)
	positive(limits, "messages_per_second", c.Limits.MessagesPerSecond)
	positive(limits, "message_bytes", c.Limits.MessageBytes)
	positive(limits, "subscribes_per_second", c.Limits.SubscribesPerSecond)
	positive(limits, "subscriptions", c.Limits.Subscriptions)
	limits.unless(c.Limits.PatternLiterals >= 0, "pattern_literals", "cannot be negative")
	positive(limits, "replay", c.Limits.Replay)
	positive(limits, "pings_per_second", c.Limits.PingsPerSecond)
	positive(limits, "refreshes_per_second", c.Limits.RefreshesPerSecond)
	positive(limits, "bad_requests", c.Limits.BadRequests)
	positive(limits, "recent", c.Limits.Recent)
	positive(limits, "recent_bytes", c.Limits.RecentBytes)
}

func (c Tokens) validate(f findings) {
	positive(f, "jwks_interval", c.JWKSInterval)
	f.unless(c.Leeway >= 0, "leeway", "cannot be negative")
	f.unless(c.SubjectClaim != "", "subject_claim", "is missing; sub is usual")
	f.unless(c.GrantsClaim != "", "grants_claim", "is missing; tidings is usual")
}

func (c TLS) validate(f findings) {
	f.unless((c.Cert == "") == (c.Key == ""), "cert", "goes with tls.key: set both, or neither")
	f.unless(c.ClientCA == "" || c.Cert != "", "client_ca", "needs TLS: set tls.cert and tls.key")
	f.oneOf("client_cert", c.ClientCert, "required", "optional")
	f.oneOf("min_version", c.MinVersion, "1.2", "1.3")
	positive(f, "reload", c.Reload)
}

func (c Reading) validate(f findings) {
	f.unless(c.Grace >= 0, "grace", "cannot be negative")
	positive(f.in("host"), "interval", c.Host.Interval)
	docker := f.in("docker")
	docker.unless(c.Docker.Host == "" || strings.Contains(c.Docker.Host, "://"), "host",
		"is no address of an engine such as unix:///var/run/docker.sock or tcp://10.0.0.5:2375")
	positive(docker, "interval", c.Docker.Interval)
	positive(docker, "list_interval", c.Docker.ListInterval)
	actions := f.in("actions")
	actions.unless(len(c.Actions.Verbs) > 0, "verbs", "is empty; to have nothing done, write enabled: false")
	for _, verb := range c.Actions.Verbs {
		actions.oneOf("verbs", verb, "start", "stop", "restart", "pause", "unpause", "kill", "remove")
	}
	positive(actions, "at_once", c.Actions.AtOnce)
}

func (c NATS) validate(f findings) {
	f.unless(len(c.Servers) > 0, "servers", "is empty; nats://127.0.0.1:4222 is usual")
	for _, server := range c.Servers {
		f.unless(isServer(server), "servers", strconv.Quote(mask(server))+" is no address of NATS such as nats://nats.example.org:4222")
	}
	f.unless(c.Prefix != "", "prefix", "is missing; tidings is usual")
	f.unless(c.API != "", "api", "is missing; $JS.API is usual")
	positive(f, "max_payload", c.MaxPayload)
}

func (c OwnNATS) validate(f findings) {
	if c.Listen != Auto && !Off(c.Listen) {
		f.address("listen", c.Listen)
	}
	if !Off(c.Monitor) {
		f.address("monitor", c.Monitor)
	}
	f.unless(c.Prefix != "", "prefix", "is missing; tidings is usual")
	positive(f, "max_payload", c.MaxPayload)
}

func (c Stream) validate(f findings) {
	f.unless(c.Name != "", "name", "is missing; TIDINGS is usual")
	positive(f, "max_age", c.MaxAge)
	positive(f, "max_per_topic", c.MaxPerTopic)
	positive(f, "max_bytes", c.MaxBytes)
	f.oneOf("storage", c.Storage, "file", "memory")
	f.unless(slices.Contains([]int{1, 3, 5}, c.Replicas), "replicas", "is 1, 3 or 5")
}

func (c Admin) validate(f findings, auto bool) {
	if !Off(c.Listen) && !(auto && c.Listen == Auto) {
		f.address("listen", c.Listen)
	}
}

func (c Log) validate(f findings) {
	f.oneOf("level", c.Level, "debug", "info", "warn", "error")
	f.oneOf("format", c.Format, "auto", "text", "json")
}

func (f findings) oneOf(key, value string, choices ...string) {
	f.unless(slices.Contains(choices, value), key, strconv.Quote(value)+" is none of "+strings.Join(choices, ", "))
}

func (f findings) address(key, value string) {
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		f.unless(false, key, strconv.Quote(value)+" is no address such as 127.0.0.1:8080 or :8080")
		return
	}
	_, err = strconv.ParseUint(port, 10, 16)
	f.unless(err == nil, key, strconv.Quote(value)+" has no port between 0 and 65535")
	f.unless(!strings.ContainsAny(host, "/ @"), key, strconv.Quote(value)+" is no address such as 127.0.0.1:8080 or :8080")
}

func isServer(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Host != "" && slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme)
}
