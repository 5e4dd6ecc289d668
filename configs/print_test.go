package configs

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestPrint_RoundTrip(t *testing.T) {
	t.Run("edge", func(t *testing.T) {
		roundTrip(t, ForEdge, "name: \"true\"\norigins: [\"*\", 'a: b']\nlimits: {message_bytes: 100000}", "--nats", "nats://a:1,tls://b:2")
	})
	t.Run("publisher", func(t *testing.T) {
		roundTrip(t, ForPublisher, "host: {name: \"0x10\", interval: 1500ms}\ndocker: {enabled: false, labels: [\"null\"]}", "--host", "web # 1")
	})
	t.Run("tidings", func(t *testing.T) {
		roundTrip(t, ForTidings, "data_dir: 'C:\\data'\nstream: {max_age: 36h, max_bytes: 2GiB}", "--nats-listen", "none")
	})
}

func roundTrip[T any](t *testing.T, p Program[T], content string, args ...string) {
	for _, c := range []struct {
		name, content string
		args          []string
	}{{"defaults", "", nil}, {"given", content, args}} {
		before, err := load(t, p, c.content, c.args...)
		if err != nil {
			t.Fatal(c.name, err)
		}
		var printed strings.Builder
		if err := p.Print(&printed, before); err != nil {
			t.Fatal(c.name, err)
		}
		after, err := load(t, p, printed.String())
		if err != nil || !reflect.DeepEqual(before, after) {
			t.Errorf("%s: %v\nbefore %+v\n after %+v\nprinted\n%s", c.name, err, before, after, printed.String())
		}
		if c.name == "defaults" && printed.String() != string(p.file) {
			t.Errorf("the defaults are not printed as their file has them:\n%s", printed.String())
		}
	}
}

func TestPrint_MasksPasswords(t *testing.T) {
	t.Setenv("TIDINGS_NATS_PASSWORD", "hunter2")
	config, err := load(t, ForEdge, "", "--nats", "nats://ada:hunter2@a:4222,nats://s3cr3ttoken@b:4222,nats://c:4222")
	if err != nil {
		t.Fatal(err)
	}
	var printed strings.Builder
	if err := ForEdge.Print(&printed, config); err != nil {
		t.Fatal(err)
	}
	if out := printed.String(); strings.Contains(out, "hunter2") || strings.Contains(out, "s3cr3t") {
		t.Errorf("a password is shown:\n%s", out)
	}
	if want := `["nats://ada:xxxxx@a:4222", "nats://xxxxx@b:4222", "nats://c:4222"]`; !strings.Contains(printed.String(), want) {
		t.Errorf("no %s in:\n%s", want, printed.String())
	}
	if !strings.Contains(printed.String(), `password: "xxxxx"`) {
		t.Errorf("nothing stands for the password in:\n%s", printed.String())
	}
	if !strings.Contains(config.NATS.Servers[0], "hunter2") || config.NATS.Password != "hunter2" {
		t.Error("printing changed the configuration itself")
	}
}

func TestPrint_MasksTheSecret(t *testing.T) {
	t.Setenv("TIDINGS_TOKENS_SECRET", "hunter2hunter2hunter2hunter2hunter2")
	config, err := load(t, ForPublisher, "")
	if err != nil {
		t.Fatal(err)
	}
	var printed strings.Builder
	if err := ForPublisher.Print(&printed, config); err != nil {
		t.Fatal(err)
	}
	if out := printed.String(); strings.Contains(out, "hunter2") || !strings.Contains(out, `secret: "xxxxx"`) {
		t.Errorf("the secret is shown:\n%s", out)
	}
}

func TestFaults_ShowNoPassword(t *testing.T) {
	_, err := load(t, ForEdge, "", "--nats", "http://ada:hunter2@a:4222,nats://ada:hun ter2@b")
	if err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "hun ter2") {
		t.Errorf("got %v", err)
	}
}

func TestFiles_AreTheDefaults(t *testing.T) {
	t.Run("edge", func(t *testing.T) { sameKeys(t, ForEdge) })
	t.Run("publisher", func(t *testing.T) { sameKeys(t, ForPublisher) })
	t.Run("tidings", func(t *testing.T) { sameKeys(t, ForTidings) })
}

// sameKeys holds file and struct together: the same keys, each of them commented, and the defaults right.
func sameKeys[T any](t *testing.T, p Program[T]) {
	entries := p.document()
	for _, f := range fieldsOf(new(T)) {
		e, ok := entries[f.key]
		switch {
		case !ok:
			t.Errorf("%s is a field and not in the file", f.key)
		case len(e.summary()) < 10 || strings.Contains(e.summary(), "This file is the defaults"):
			t.Errorf("%s has no comment of its own: %q", f.key, e.summary())
		}
		delete(entries, f.key)
	}
	for key := range entries {
		t.Errorf("%s is in the file and no field", key)
	}
	if _, err := load(t, p, ""); err != nil {
		t.Error(err)
	}
}

func TestBytes_AreWrittenInUnits(t *testing.T) {
	for text, want := range map[string]Bytes{"0": 0, "1": 1, "5B": 5, "8KiB": 8192, "3 MiB": 3 << 20, "1GiB": 1 << 30, "1025": 1025} {
		got, err := ParseBytes(text)
		if err != nil || got != want {
			t.Errorf("%q: got %d, %v", text, got, err)
		}
		if again, err := ParseBytes(got.String()); err != nil || again != want {
			t.Errorf("%q is written %q, which reads %d, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "KiB", "-1", "1.5MiB", "1MB", "8589934592GiB", "١"} {
		if got, err := ParseBytes(text); err == nil {
			t.Errorf("%q reads as %d", text, got)
		}
	}
}

func TestDurations_PrintAsTheyAreRead(t *testing.T) {
	config, err := load(t, ForEdge, "stream: {max_age: 36h30m}\ngather: 1500us")
	if err != nil || config.Stream.MaxAge != 36*time.Hour+30*time.Minute || config.Gather != 1500*time.Microsecond {
		t.Errorf("got %v, %v, %v", config.Stream.MaxAge, config.Gather, err)
	}
}
