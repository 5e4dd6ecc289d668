package configs

import "time"

// Edge is the configuration of cmd/edge. edge.yaml says what each key means.
type Edge struct {
	Serving `yaml:",inline"`
	Tokens  Tokens `yaml:"tokens"`
	NATS    NATS   `yaml:"nats"`
	Stream  Stream `yaml:"stream"`
	Admin   Admin  `yaml:"admin"`
	Log     Log    `yaml:"log"`
}

// Publisher is the configuration of cmd/publisher. publisher.yaml says what each key means.
type Publisher struct {
	Reading `yaml:",inline"`
	Tokens  Tokens `yaml:"tokens"`
	NATS    NATS   `yaml:"nats"`
	Stream  Stream `yaml:"stream"`
	Admin   Admin  `yaml:"admin"`
	Log     Log    `yaml:"log"`
}

// Tidings is the configuration of `tidings run`: an edge and a publisher around a NATS of their own. tidings.yaml says
// what each key means.
type Tidings struct {
	DataDir string `yaml:"data_dir" flag:"data-dir"`
	Serving `yaml:",inline"`
	Reading `yaml:",inline"`
	Tokens  Tokens  `yaml:"tokens"`
	NATS    OwnNATS `yaml:"nats"`
	Stream  Stream  `yaml:"stream"`
	Admin   Admin   `yaml:"admin"`
	Log     Log     `yaml:"log"`
}

// TokensAlone is the part of the configuration that says which tokens are good.
type TokensAlone struct {
	Tokens Tokens `yaml:"tokens"`
}

// Serving is what an edge does towards its clients.
type Serving struct {
	Listen           string        `yaml:"listen" flag:"listen"`
	Name             string        `yaml:"name" flag:"name"`
	Auth             string        `yaml:"auth" flag:"auth"`
	TokenCookie      string        `yaml:"token_cookie"`
	TokenQuery       bool          `yaml:"token_query"`
	ExpiryWarning    time.Duration `yaml:"expiry_warning"`
	AllowActions     bool          `yaml:"allow_actions" flag:"allow-actions"`
	Origins          []string      `yaml:"origins" flag:"origins"`
	TrustedProxies   []string      `yaml:"trusted_proxies"`
	ProxyProtocol    bool          `yaml:"proxy_protocol"`
	TLS              TLS           `yaml:"tls"`
	Heartbeat        time.Duration `yaml:"heartbeat"`
	SlowTimeout      time.Duration `yaml:"slow_timeout"`
	HandshakeTimeout time.Duration `yaml:"handshake_timeout"`
	Linger           time.Duration `yaml:"linger"`
	Gather           time.Duration `yaml:"gather"`
	DrainWait        time.Duration `yaml:"drain_wait"`
	DrainWindow      time.Duration `yaml:"drain_window"`
	DrainGrace       time.Duration `yaml:"drain_grace"`
	MaxAge           time.Duration `yaml:"max_connection_age"`
	Loops            int           `yaml:"loops"`
	SendBuffer       Bytes         `yaml:"send_buffer"`
	GCPercent        int           `yaml:"gc_percent"`
	MemoryLimit      Bytes         `yaml:"memory_limit"`
	Limits           Limits        `yaml:"limits"`
}

// Tokens is how tokens are verified, and what their claims mean.
type Tokens struct {
	SecretFiles   []string      `yaml:"secret_files" flag:"token-secret-file"`
	Secret        string        `yaml:"secret" secret:"value"`
	KeyFiles      []string      `yaml:"key_files" flag:"token-key-file"`
	JWKS          []string      `yaml:"jwks" flag:"token-jwks"`
	JWKSInterval  time.Duration `yaml:"jwks_interval"`
	JWKSPlainHTTP bool          `yaml:"jwks_plain_http"`
	Algorithms    []string      `yaml:"algorithms"`
	Issuers       []string      `yaml:"issuers"`
	Audiences     []string      `yaml:"audiences"`
	Leeway        time.Duration `yaml:"leeway"`
	RequireExp    bool          `yaml:"require_exp"`
	SubjectClaim  string        `yaml:"subject_claim"`
	GrantsClaim   string        `yaml:"grants_claim"`
	RoleClaim     string        `yaml:"role_claim"`
	Roles         []string      `yaml:"roles"`
}

// HasKeys tells whether any token can be verified.
func (t Tokens) HasKeys() bool {
	return len(t.SecretFiles) > 0 || t.Secret != "" || len(t.KeyFiles) > 0 || len(t.JWKS) > 0
}

// TLS is what an edge shows of itself, and asks of its clients.
type TLS struct {
	Cert       string        `yaml:"cert"`
	Key        string        `yaml:"key"`
	ClientCA   string        `yaml:"client_ca"`
	ClientCert string        `yaml:"client_cert"`
	MinVersion string        `yaml:"min_version"`
	Reload     time.Duration `yaml:"reload"`
}

// Limits bound what clients can make an edge hold.
type Limits struct {
	Connections           int   `yaml:"connections"`
	ConnectionsPerAddress int   `yaml:"connections_per_address"`
	ConnectionsPerUser    int   `yaml:"connections_per_user"`
	HandshakesPerSecond   int   `yaml:"handshakes_per_second"`
	HandshakesPerAddress  int   `yaml:"handshakes_per_address"`
	EventStreams          int   `yaml:"event_streams"`
	HeaderBytes           Bytes `yaml:"header_bytes"`
	Headers               int   `yaml:"headers"`
	MessagesPerSecond     int   `yaml:"messages_per_second"`
	MessageBytes          Bytes `yaml:"message_bytes"`
	SubscribesPerSecond   int   `yaml:"subscribes_per_second"`
	Subscriptions         int   `yaml:"subscriptions"`
	PatternLiterals       int   `yaml:"pattern_literals"`
	Replay                int   `yaml:"replay"`
	PingsPerSecond        int   `yaml:"pings_per_second"`
	RefreshesPerSecond    int   `yaml:"refreshes_per_second"`
	ActionsPerUser        int   `yaml:"actions_per_user"`
	ActionsPerSecond      int   `yaml:"actions_per_second"`
	BadRequests           int   `yaml:"bad_requests"`
	Recent                int   `yaml:"recent"`
	RecentBytes           Bytes `yaml:"recent_bytes"`
}

// Reading is what a publisher reads, and how often.
type Reading struct {
	Host    Host          `yaml:"host"`
	Docker  Docker        `yaml:"docker"`
	Actions Actions       `yaml:"actions"`
	Grace   time.Duration `yaml:"grace"`
}

// Host is the machine that is measured.
type Host struct {
	Name     string        `yaml:"name" flag:"host"`
	Interval time.Duration `yaml:"interval"`
	Proc     string        `yaml:"proc"`
	Sys      string        `yaml:"sys"`
	Root     string        `yaml:"root"`
}

// Docker is the engine whose containers are published.
type Docker struct {
	Enabled      bool          `yaml:"enabled"`
	Host         string        `yaml:"host" flag:"docker-host"`
	Interval     time.Duration `yaml:"interval"`
	ListInterval time.Duration `yaml:"list_interval"`
	Labels       []string      `yaml:"labels"`
}

// Actions is what may be done to the containers.
type Actions struct {
	Enabled   bool     `yaml:"enabled" flag:"actions"`
	Verbs     []string `yaml:"verbs"`
	AuditFile string   `yaml:"audit_file" flag:"audit-file"`
	AtOnce    int      `yaml:"at_once"`
}

// NATS is the line to servers that run elsewhere.
type NATS struct {
	Servers      []string `yaml:"servers" flag:"nats" secret:"url"`
	Credentials  string   `yaml:"credentials" flag:"nats-credentials"`
	NKey         string   `yaml:"nkey"`
	User         string   `yaml:"user"`
	Password     string   `yaml:"password" secret:"value"`
	PasswordFile string   `yaml:"password_file"`
	TLS          NATSTLS  `yaml:"tls"`
	Prefix       string   `yaml:"prefix"`
	API          string   `yaml:"api"`
	MaxPayload   Bytes    `yaml:"max_payload"`
}

// NATSTLS is how that line is encrypted.
type NATSTLS struct {
	CA             string `yaml:"ca" flag:"nats-ca"`
	Cert           string `yaml:"cert"`
	Key            string `yaml:"key"`
	ServerName     string `yaml:"server_name"`
	HandshakeFirst bool   `yaml:"handshake_first"`
}

// OwnNATS is the server in the process.
type OwnNATS struct {
	Listen     string `yaml:"listen" flag:"nats-listen"`
	Monitor    string `yaml:"monitor"`
	Prefix     string `yaml:"prefix"`
	MaxPayload Bytes  `yaml:"max_payload"`
}

// Stream is the JetStream stream behind every position.
type Stream struct {
	Manage      bool          `yaml:"manage"`
	Name        string        `yaml:"name"`
	MaxAge      time.Duration `yaml:"max_age"`
	MaxPerTopic int           `yaml:"max_per_topic"`
	MaxBytes    Bytes         `yaml:"max_bytes"`
	Storage     string        `yaml:"storage"`
	Replicas    int           `yaml:"replicas"`
}

// Admin is the operator's port.
type Admin struct {
	Listen string `yaml:"listen" flag:"admin"`
	Pprof  bool   `yaml:"pprof"`
}

// Log is what goes to standard error.
type Log struct {
	Level  string `yaml:"level" flag:"log-level"`
	Format string `yaml:"format" flag:"log-format"`
}

// Auto in place of an address asks for the usual one, and for what is possible if that is taken. As auth it is tokens where
// there are keys, and otherwise none.
const Auto = "auto"

// Off says whether an address means that the port stays closed.
func Off(address string) bool { return address == "" || address == "none" }
