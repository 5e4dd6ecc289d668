package configs

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func TestLoad_FlagsOverEnvironmentOverFileOverDefaults(t *testing.T) {
	file := "listen: 127.0.0.1:1\nname: of-the-file\nauth: none\nlimits: {subscriptions: 7}\nadmin: {listen: 127.0.0.1:1}\n"
	t.Setenv("TIDINGS_LISTEN", "127.0.0.1:2")
	t.Setenv("TIDINGS_ADMIN_LISTEN", "127.0.0.1:2")
	t.Setenv("TIDINGS_LIMITS_HEADER_BYTES", "4KiB")
	t.Setenv("TIDINGS_NAME", "") // empty: not set

	got, err := load(t, ForEdge, file, "--listen", "127.0.0.1:3")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"the flag", got.Listen, "127.0.0.1:3"},
		{"the environment", got.Admin.Listen, "127.0.0.1:2"},
		{"the environment, without a flag of that name", got.Limits.HeaderBytes, Bytes(4096)},
		{"the file, the environment being empty", got.Name, "of-the-file"},
		{"the file, in a section", got.Limits.Subscriptions, 7},
		{"the defaults, in the same section", got.Limits.MessageBytes, Bytes(65536)},
		{"the defaults", got.Heartbeat, 25 * time.Second},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: got %v, want %v", c.what, c.got, c.want)
		}
	}
}

func TestLoad_TakesFileNamedByTheEnvironment(t *testing.T) {
	t.Setenv("TIDINGS_CONFIG", write(t, "name: from-there"))
	got, err := load(t, ForEdge, "")
	if err != nil || got.Name != "from-there" {
		t.Errorf("got name %q and error %v", got.Name, err)
	}
}

func TestLoad_ListsOfFlagsAndEnvironment(t *testing.T) {
	t.Setenv("TIDINGS_ORIGINS", "a.example.org, b.example.org")
	got, err := load(t, ForEdge, "", "--nats", "nats://a:4222", "--nats", "nats://b:4222,nats://c:4222")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"nats://a:4222", "nats://b:4222", "nats://c:4222"}; !slices.Equal(got.NATS.Servers, want) {
		t.Errorf("servers %q, want %q", got.NATS.Servers, want)
	}
	if want := []string{"a.example.org", "b.example.org"}; !slices.Equal(got.Origins, want) {
		t.Errorf("origins %q, want %q", got.Origins, want)
	}
}

func TestLoad_RefusesMisspelt(t *testing.T) {
	for _, c := range []struct {
		name, file, variable, want string
	}{
		{"key", "heartbeet: 5s", "", "heartbeet: there is no such key, did you mean heartbeat? ("},
		{"key of a section", "limits:\n  conections: 5", "", "limits.conections: there is no such key, did you mean limits.connections? ("},
		{"key in other letters", "Listen: :80", "", "Listen: there is no such key, did you mean listen? ("},
		{"key without its section", "max_age: 5h", "", "max_age: there is no such key, did you mean stream.max_age? ("},
		{"key of nowhere", "colour_of_the_moon: red", "", "colour_of_the_moon: there is no such key ("},
		{"line", "name: a\n\nnmae: b", "", ".yaml:3)"},
		{"keys in place of a value", "listen: {port: 80}", "", "listen.port: there is no such key, did you mean listen? ("},
		{"value in place of keys", "limits: 5", "", "limits: is a section with keys of its own, such as limits.connections ("},
		{"nothing in place of a value", "listen: {}", "", "listen: takes a value, not keys ("},
		{"environment", "", "TIDINGS_LISTENN", "TIDINGS_LISTENN: there is no such name, did you mean TIDINGS_LISTEN? (the environment)"},
		{"environment without its section", "", "TIDINGS_NATS", "TIDINGS_NATS: there is no such name, did you mean TIDINGS_NATS_SERVERS? (the environment)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.variable != "" {
				t.Setenv(c.variable, "x")
			}
			_, err := load(t, ForEdge, c.file)
			var faults Faults
			if !errors.As(err, &faults) || len(faults) != 1 || !strings.Contains(faults[0], c.want) {
				t.Errorf("got %v\nwant one fault with %s", err, c.want)
			}
		})
	}
}

func TestLoad_LetsTheEnvironmentBeShared(t *testing.T) {
	t.Setenv("TIDINGS_DOCKER_HOST", "unix:///run/docker.sock") // the publisher's
	t.Setenv("TIDINGS_EDGE_SERVICE_HOST", "10.0.0.1")          // these five are Kubernetes', for a Service tidings-edge
	t.Setenv("TIDINGS_EDGE_SERVICE_PORT_HTTP", "80")
	t.Setenv("TIDINGS_EDGE_PORT", "tcp://10.0.0.1:80")
	t.Setenv("TIDINGS_EDGE_PORT_80_TCP_ADDR", "10.0.0.1")
	t.Setenv("TIDINGS_EDGE_SERVICE_PORT", "80")
	if _, err := load(t, ForEdge, ""); err != nil {
		t.Error(err)
	}
	t.Setenv("TIDINGS_OTHER_PORT", "tcp://10.0.0.1:80")
	if _, err := load(t, ForEdge, ""); err == nil {
		t.Error("a port of no Service was taken for one")
	}
}

func TestLoad_NamesWrongValues(t *testing.T) {
	for _, c := range []struct{ file, want string }{
		{"heartbeat: 25", `heartbeat: "25" has no unit: write 25s, 25ms, 25m or 25h (`},
		{"heartbeat: soon", `heartbeat: "soon" is no duration such as 500ms, 25s or 24h (`},
		{"heartbeat: -1s", "heartbeat: must be above zero ("},
		{"heartbeat: [1s]", "heartbeat: is a list, and takes a duration ("},
		{"limits: {connections: many}", `limits.connections: "many" is no whole number (`},
		{"limits: {connections: 1.5}", `limits.connections: "1.5" is no whole number (`},
		{"limits: {connections: true}", `limits.connections: "true" is no whole number (`},
		{"limits: {connections: 0}", "limits.connections: must be above zero ("},
		{"limits: {message_bytes: 64kB}", `limits.message_bytes: "64kB" is no size: write a number of bytes, or 8KiB, 1MiB, 1GiB (`},
		{"stream: {max_bytes: 99999999999GiB}", `stream.max_bytes: "99999999999GiB" is no size`},
		{"stream: {manage: perhaps}", `stream.manage: "perhaps" is neither true nor false (`},
		{"stream: {storage: tape}", `stream.storage: "tape" is none of file, memory (`},
		{"stream: {replicas: 2}", "stream.replicas: is 1, 3 or 5 ("},
		{"stream: {name: ''}", `stream.name: is missing; TIDINGS is usual (`},
		{"listen: 8080", `listen: "8080" is no address such as 127.0.0.1:8080 or :8080 (`},
		{"listen: 127.0.0.1:99999", `listen: "127.0.0.1:99999" has no port between 0 and 65535 (`},
		{"listen: http://127.0.0.1:80", `listen: "http://127.0.0.1:80" is no address`},
		{"admin: {listen: auto}", `admin.listen: "auto" is no address`},
		{"auth: token", `auth: "token" is none of tokens, none (`},
		{"auth: ''", `auth: "" is none of tokens, none (`},
		{"tokens: {leeway: -1s}", "tokens.leeway: cannot be negative ("},
		{"tokens: {jwks_interval: 0s}", "tokens.jwks_interval: must be above zero ("},
		{"tokens: {grants_claim: ''}", "tokens.grants_claim: is missing; tidings is usual ("},
		{"nats: {servers: []}", "nats.servers: is empty"},
		{"nats: {servers: [127.0.0.1]}", `nats.servers: "127.0.0.1" is no address of NATS`},
		{"nats: {servers: ['127.0.0.1:4222']}", `nats.servers: "127.0.0.1:4222" is no address of NATS`},
		{"nats: {servers: ['ada:secret@127.0.0.1:4222']}", `nats.servers: "xxxxx" is no address of NATS`},
		{"nats: {servers: [{a: b}]}", "nats.servers: entry 1 of the list is no text ("},
		{"log: {level: loud}", `log.level: "loud" is none of debug, info, warn, error (`},
		{"a: b: c", "given.yaml: yaml: "},
		{"name: a\nname: b", `given.yaml: yaml: unmarshal errors:`},
		{"name: a\n---\nname: b", "given.yaml: is more than one YAML document"},
		{"- a\n- b", "given.yaml: yaml: unmarshal errors:"},
	} {
		t.Run(c.file, func(t *testing.T) {
			_, err := load(t, ForEdge, c.file)
			var faults Faults
			if !errors.As(err, &faults) || len(faults) != 1 || !strings.Contains(faults[0], c.want) {
				t.Errorf("got %v\nwant one fault with %s", err, c.want)
			}
		})
	}
}

func TestLoad_TellsAllFaultsAtOnce(t *testing.T) {
	t.Setenv("TIDINGS_LIMITS_SUBSCRIPTIONS", "some")
	t.Setenv("TIDINGS_NMAE", "x")
	got, err := load(t, ForEdge, "heartbeat: 5\nslow_timeuot: 5s\nstream: {storage: tape}\n", "--listen", "nowhere")
	for _, want := range []string{
		`listen: "nowhere" is no address such as 127.0.0.1:8080 or :8080 (--listen)`,
		"limits.subscriptions: \"some\" is no whole number (TIDINGS_LIMITS_SUBSCRIPTIONS)",
		"TIDINGS_NMAE: there is no such name, did you mean TIDINGS_NAME?",
		"slow_timeuot: there is no such key, did you mean slow_timeout?",
		`heartbeat: "5" has no unit`,
		`stream.storage: "tape" is none of file, memory (`,
		"given.yaml:1)",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
	if got.Heartbeat != 25*time.Second || got.Limits.Subscriptions != 128 {
		t.Errorf("broken values did not keep their defaults: %v, %d", got.Heartbeat, got.Limits.Subscriptions)
	}
}

func TestLoad_MissingFileIsAFault(t *testing.T) {
	for _, path := range []string{"/no/such/file.yaml", t.TempDir(), "/dev/zero"} {
		var faults Faults
		_, err := load(t, ForEdge, "", "--config", path, "--listen", "nowhere")
		if !errors.As(err, &faults) || len(faults) != 1 || !strings.Contains(faults[0], path) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

func TestLoad_EmptyFileAndEmptySectionsKeepDefaults(t *testing.T) {
	want, err := load(t, ForEdge, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"# nothing\n", "limits:\n  # nothing\nname:\n", "---\n", "{}"} {
		if got, err := load(t, ForEdge, content); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v\n got %+v\nwant %+v", content, err, got, want)
		}
	}
}

// In a flag's usage pflag takes what stands in back quotes for the name of its value.
func TestFlags_CommentsGiveValuesNoName(t *testing.T) {
	flags := pflag.NewFlagSet("tidings", pflag.ContinueOnError)
	ForTidings.AddFlags(flags)
	flags.VisitAll(func(f *pflag.Flag) {
		if name, _ := pflag.UnquoteUsage(f); strings.ContainsAny(name, " -") {
			t.Errorf("--%s takes a %q", f.Name, name)
		}
	})
}

func TestFlags_BooleansAndUsage(t *testing.T) {
	flags := pflag.NewFlagSet("edge", pflag.ContinueOnError)
	ForEdge.AddFlags(flags)
	usage := flags.FlagUsages()
	for _, want := range []string{
		"Address of WebSockets, server-sent events and pages.", "(TIDINGS_LISTEN)", "127.0.0.1:8080", "(TIDINGS_CONFIG)",
		"nats://127.0.0.1:4222",
	} {
		if !strings.Contains(usage, want) {
			t.Errorf("no %q in the flags' help:\n%s", want, usage)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("listen: 127.0.0.1:1\nlimits: {connections: 5}")
	f.Add("a: &a {b: *a}")
	f.Add("limits: &x\n  connections: 5\nstream: *x\n<<: *x\n")
	f.Add("? {a: b}\n: c")
	f.Add("limits: [1, 2]\nnats: {servers: {a: b}}")
	f.Add(string(tidingsFile))
	f.Fuzz(func(t *testing.T, content string) {
		got, err := load(t, ForTidings, content)
		var faults Faults
		if err != nil && !errors.As(err, &faults) {
			t.Errorf("an error that is no list of faults: %v", err)
		}
		if err == nil && got.Listen == "" {
			t.Error("no fault, and no address")
		}
	})
}

func TestLoad_AddsWhatChecksSay(t *testing.T) {
	check := func(c Edge) error {
		return errors.Join(
			Under("limits", errors.Join(errors.New("MessageBytes: 1 is outside 128 to 16777216"))),
			errors.Join(errors.New("Heartbeat: too often"), errors.New("max_payload: odd"), errors.New("Elsewhere: odd")),
		)
	}
	_, err := load(t, ForEdge, "limits: {message_bytes: 1}\nheartbeat: 1", "--name", "a")
	if err == nil || strings.Contains(err.Error(), "outside") {
		t.Fatalf("without the check: %v", err)
	}
	path := write(t, "limits: {message_bytes: 1}\nheartbeat: 1\nauth: x")
	flags := pflag.NewFlagSet("edge", pflag.ContinueOnError)
	ForEdge.AddFlags(flags)
	if err := flags.Parse([]string{"--config", path}); err != nil {
		t.Fatal(err)
	}
	_, err = ForEdge.Load(flags, check)
	want := Faults{
		`heartbeat: "1" has no unit: write 1s, 1ms, 1m or 1h (` + path + ":2)", // and no second fault of the same key
		`auth: "x" is none of tokens, none (` + path + ":3)",
		"limits.message_bytes: 1 is outside 128 to 16777216 (" + path + ":1)",
		"nats.max_payload: odd (the defaults)",
		"Elsewhere: odd",
	}
	var faults Faults
	if !errors.As(err, &faults) || !slices.Equal(faults, want) {
		t.Errorf("got  %q\nwant %q", faults, want)
	}
}

func TestLoad_TokensAloneOfAnyProgramsFile(t *testing.T) {
	for _, file := range []string{string(edgeFile), string(publisherFile), string(tidingsFile), "nats: {listen: x}\nnowhere: 1\ntokens: {role_claim: role}"} {
		got, err := load(t, ForTokens, file, "--token-key-file", "key.pem")
		if err != nil || got.Tokens.GrantsClaim != "tidings" || !slices.Equal(got.Tokens.KeyFiles, []string{"key.pem"}) {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	if _, err := load(t, ForTokens, "tokens: {role_clam: role}"); err == nil || !strings.Contains(err.Error(), "did you mean tokens.role_claim?") {
		t.Errorf("got %v", err)
	}
}
