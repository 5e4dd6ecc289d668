package auth

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"tidings/bus"
)

// words are the tokens of brute-force topics. "z" is in no pattern, and so stands for all words that a wildcard alone matches.
var words = []string{"a", "b", "z"}

// topics lists every topic of up to n tokens.
func topics(n int) []bus.Topic {
	var all []bus.Topic
	level := []string{""}
	for range n {
		var next []string
		for _, prefix := range level {
			for _, w := range words {
				next = append(next, strings.TrimPrefix(prefix+"."+w, "."))
			}
		}
		for _, s := range next {
			all = append(all, bus.Topic(s))
		}
		level = next
	}
	return all
}

// matches is what a pattern means, said in another way than package bus does: as NATS documents it.
func matches(pattern, topic string) bool {
	p, t := strings.Split(pattern, "."), strings.Split(topic, ".")
	for i, token := range p {
		if token == ">" {
			return len(t) > i
		}
		if i >= len(t) || token != "*" && token != t[i] {
			return false
		}
	}
	return len(p) == len(t)
}

func randomPattern(r *rand.Rand) string {
	n := 1 + r.IntN(3)
	tokens := make([]string, n)
	for i := range tokens {
		tokens[i] = []string{"a", "b", "*"}[r.IntN(3)]
	}
	if r.IntN(3) == 0 {
		tokens[n-1] = ">"
	}
	return strings.Join(tokens, ".")
}

// A grant covers a pattern exactly when every topic of the pattern is one of the grant's. Four tokens are one more than any
// pattern has, so no longer topic could tell more.
func TestMaySubscribe_IsRightForEveryTopic(t *testing.T) {
	universe := topics(4)
	r := rand.New(rand.NewPCG(1, 2))
	seen := map[bool]int{}
	for range 3000 {
		asked := randomPattern(r)
		s := &Session{}
		for range r.IntN(3) {
			s.Subscribe = append(s.Subscribe, bus.Pattern(randomPattern(r)))
		}
		want := slices.ContainsFunc(s.Subscribe, func(granted bus.Pattern) bool {
			return !slices.ContainsFunc(universe, func(topic bus.Topic) bool {
				return matches(asked, string(topic)) && !matches(string(granted), string(topic))
			})
		})
		seen[want]++
		if got := s.MaySubscribe(bus.Pattern(asked)); got != want {
			t.Fatalf("%s with %v: got %v, want %v", asked, s.Subscribe, got, want)
		}
	}
	if seen[true] < 300 || seen[false] < 300 {
		t.Errorf("not much of a test: %v", seen)
	}
}

func TestMayAct_ByHostNameAndAction(t *testing.T) {
	for _, c := range []struct {
		granted               string
		host, container, verb string
		want                  bool
	}{
		{"web-1.api.restart", "web-1", "api", "restart", true},
		{"web-1.api.restart", "web-1", "api", "stop", false},
		{"web-1.api.restart", "web-2", "api", "restart", false},
		{"web-1.*.restart", "web-1", "db", "restart", true},
		{"web-1.>", "web-1", "db", "kill", true},
		{"web-1.api.>", "web-1", "api", "kill", true},
		{"web-1.api.>", "web-1", "db", "kill", false},
		{"*.*.*", "web-1", "db", "kill", true},
		{">", "web-1", "db", "kill", true},
		{"status.db.start", "status", "db", "start", true}, // a host may be called as no topic can
		{"web-1.shop-api-1.stop", "web-1", "shop.api.1", "stop", true},
		{"web-1.api.restart", "web-1", "API", "restart", false},
		{">", "web-1.db", "x", "kill", false}, // what no grant could name
		{">", "web-1", "a b", "kill", false},
		{">", "web-1", "*", "kill", false},
		{">", "*", "db", "kill", false},
		{">", "web-1", "", "kill", false},
		{">", "", "db", "kill", false},
		{">", "web-1", "db", "", false},
		{">", "web-1", "db", ">", false},
	} {
		p, err := ParseActPattern(c.granted)
		if err != nil {
			t.Fatal(err)
		}
		s := &Session{Act: []ActPattern{p}}
		if got := s.MayAct(c.host, c.container, bus.Verb(c.verb)); got != c.want {
			t.Errorf("%s: %q %q %q: got %v", c.granted, c.host, c.container, c.verb, got)
		}
	}
	if Anyone().MayAct("web-1", "db", bus.Stop) {
		t.Error("anyone may act")
	}
}

func TestParseActPattern_RefusesWhatCouldGrantNothing(t *testing.T) {
	for _, s := range []string{"", ".", "a", "a.b", "a.b.c.d", "a.b.c.>", "*", "a.*", ">.a", "a.>.b", "a..b", "a.b.", "a b.c.d", "a.b*.c", "ä.b.c",
		"a.b.c\n", strings.Repeat("a", 254) + ".b.c"} {
		if p, err := ParseActPattern(s); err == nil {
			t.Errorf("took %q for %q", s, p)
		}
	}
}

func TestRoles_GrantWhatTheConfigurationSays(t *testing.T) {
	cfg := Config{Secret: secret, RoleClaim: "role", Roles: map[string]Grant{
		"admin":  {Subscribe: []string{">"}, Act: []string{"*.*.restart"}},
		"user":   {Subscribe: []string{"metrics.>", "users.{sub}.>"}, Act: []string{"{sub}.*.start"}},
		"viewer": {Subscribe: []string{"metrics.>"}},
	}}
	nested := cfg
	nested.RoleClaim = "realm_access.roles"
	named := cfg
	named.RoleClaim = "https://example.org/roles"
	for _, c := range []struct {
		name   string
		cfg    Config
		claims jwt.MapClaims
		want   string
	}{
		{"a text", cfg, jwt.MapClaims{"role": "viewer"}, "[metrics.>] []"},
		{"a list", cfg, jwt.MapClaims{"role": []string{"viewer", "admin"}}, "[metrics.> >] [*.*.restart]"},
		{"nested", nested, jwt.MapClaims{"realm_access": map[string]any{"roles": []string{"admin"}}}, "[>] [*.*.restart]"},
		{"a name with dots", named, jwt.MapClaims{"https://example.org/roles": "viewer"}, "[metrics.>] []"},
		{"beside grants", cfg, jwt.MapClaims{"role": "viewer", "tidings": map[string]any{"subscribe": []string{"host.>"}}}, "[host.> metrics.>] []"},
		{"with who it is", cfg, jwt.MapClaims{"role": "user"}, "[metrics.> users.ada.>] [ada.*.start]"},
		{"one that is not known", cfg, jwt.MapClaims{"role": "root"}, "[] []"},
		{"in other letters", cfg, jwt.MapClaims{"role": "Admin"}, "[] []"},
		{"two in one text", cfg, jwt.MapClaims{"role": "no admin"}, "[] []"},
		{"none", cfg, nil, "[] []"},
		{"null", cfg, jwt.MapClaims{"role": []any{}}, "[] []"},
	} {
		claims := jwt.MapClaims{"tidings": nil}
		for name, value := range c.claims {
			claims[name] = value
		}
		s, err := verifier(t, c.cfg).Verify(t.Context(), sign(t, "HS256", []byte(secret), claims))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := fmt.Sprint(s.Subscribe, " ", s.Act); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
	for _, role := range []any{7, map[string]any{"admin": true}, []any{"admin", 7}, true, slicesOf("viewer", maxRoles+1)} {
		if _, err := verifier(t, cfg).Verify(t.Context(), sign(t, "HS256", []byte(secret), jwt.MapClaims{"role": role})); reasonOf(err) != reasonGrants {
			t.Errorf("role %v: %v", role, err)
		}
	}
}

// A subject is written into a pattern only where it stays one word of it.
func TestRoles_ASubjectIsNoPattern(t *testing.T) {
	cfg := Config{Secret: secret, RoleClaim: "role", Roles: map[string]Grant{"user": {
		Subscribe: []string{"users.{sub}.>", "{sub}.all"}, Act: []string{"web-1.{sub}.start"},
	}}}
	v := verifier(t, cfg)
	for _, subject := range []string{"*", ">", "a.b", "a.>", "", " ", "a b", "{sub}", "ä", "a/b", "$JS", strings.Repeat("a", 256)} {
		s, err := v.Verify(t.Context(), sign(t, "HS256", []byte(secret), jwt.MapClaims{"sub": subject, "role": "user", "tidings": nil}))
		if err != nil || len(s.Subscribe)+len(s.Act) > 0 {
			t.Errorf("subject %q: %+v, %v", subject, s, err)
		}
	}
	s, err := v.Verify(t.Context(), sign(t, "HS256", []byte(secret), jwt.MapClaims{"sub": "error", "role": "user", "tidings": nil}))
	if err != nil || fmt.Sprint(s.Subscribe, s.Act) != "[users.error.>] [web-1.error.start]" {
		t.Errorf("a subject that no type of topics can be: %+v, %v", s, err)
	}
	s, err = v.Verify(t.Context(), sign(t, "HS256", []byte(secret), jwt.MapClaims{"sub": 42, "role": "user", "tidings": nil}))
	if err != nil || s.Subject != "42" || fmt.Sprint(s.Subscribe, s.Act) != "[users.42.> 42.all] [web-1.42.start]" {
		t.Errorf("a subject that is counted: %+v, %v", s, err)
	}
}

func TestSubject_ComesFromTheConfiguredClaim(t *testing.T) {
	v := verifier(t, Config{Secret: secret, SubjectClaim: "user.email", GrantsClaim: "app.grants"})
	s, err := v.Verify(t.Context(), sign(t, "HS256", []byte(secret), jwt.MapClaims{
		"user": map[string]any{"email": "ada@example.org"}, "app": map[string]any{"grants": map[string]any{"subscribe": []string{"a.b"}}},
	}))
	if err != nil || s.Subject != "ada@example.org" || fmt.Sprint(s.Subscribe) != "[a.b]" {
		t.Errorf("got %+v, %v", s, err)
	}
}
