//go:build linux

package chaos

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mutation is one line of ours taken out, and the scenario whose judge has to notice.
type mutation struct {
	file, line, instead string
	clients             bool // the line is the clients', otherwise the edges'
	play                func(*cluster, []*relay)
	found               []Breach // any of them
}

// mutations are the lines that completeness hangs on.
var mutations = map[string]mutation{
	"an edge that passes on what it has twice": {
		file: "edge/topic.go", line: "if m.Seq <= t.seq {", instead: "if false {",
		play: tamperWithFrames, found: []Breach{Twice, Disorder},
	},
	"an edge that fills no hole": {
		file: "edge/topic.go", line: "if t.every && m.Prev > t.seq {", instead: "if false {",
		play: tamperWithFrames, found: []Breach{Missing},
	},
	"an edge that brings nothing after a position": {
		file: "edge/subscribe.go", line: "brought[i], recovered = l.resume(w)", instead: "_, recovered = l.resume(w)",
		play: func(c *cluster, _ []*relay) { killAnEdge(c) }, found: []Breach{Lied},
	},
	"a client that takes what it has": {
		file: "edge/client/message.go", line: "case duplicate:\n\t\treturn\n", instead: "case duplicate:\n", clients: true,
		play: func(c *cluster, _ []*relay) { restartEdge(c, c.edges[0]) }, found: []Breach{Twice, Disorder},
	},
	"a client that asks for nothing it missed": {
		file: "edge/client/subscription.go", line: `if s.position.Epoch != "" {`, instead: "if false {", clients: true,
		play: func(c *cluster, _ []*relay) { killAnEdge(c) }, found: []Breach{Missing},
	},
}

// A judge who finds nothing is worth what he finds when there is something.
func TestMutation_IsFoundByTheChecker(t *testing.T) {
	for name, m := range mutations {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			scene(t)
			var relays []*relay
			p := relayed(&relays)
			p.wait = 3 * time.Second
			dir := t.TempDir()
			var err error
			if overlay := m.overlay(t, dir); m.clients {
				p.crowd = filepath.Join(dir, "crowd")
				err = build(overlay, "test", "-c", "-o", p.crowd, "tidings/cmd/internal/e2e/chaos")
			} else {
				p.edge = filepath.Join(dir, "edge")
				err = build(overlay, "build", "-trimpath", "-o", p.edge, "tidings/cmd/edge")
			}
			if err != nil {
				t.Fatal(err)
			}
			c := newCluster(t, p)
			m.play(c, relays)
			r := Check(c.finish(), Rules{})
			n := 0
			for _, b := range m.found {
				n += r.Count(b)
			}
			if n == 0 {
				t.Fatalf("not noticed; there was %v", r.Faults)
			}
			for _, f := range r.Faults[:min(3, len(r.Faults))] {
				t.Logf("noticed: %v", f)
			}
		})
	}
}

// overlay writes a copy of the file with the line changed, and what tells the go command to take it.
func (m mutation) overlay(t *testing.T, dir string) string {
	t.Helper()
	root, err := filepath.Abs("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	original := filepath.Join(root, m.file)
	text, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), m.line); n != 1 {
		t.Fatalf("%s has %q %d times; it has to be there once", m.file, m.line, n)
	}
	changed := filepath.Join(dir, filepath.Base(m.file))
	if err := os.WriteFile(changed, []byte(strings.Replace(string(text), m.line, m.instead, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, list, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The lines that the mutations take out are there, also where no cluster can be played.
func TestMutation_LinesAreThere(t *testing.T) {
	for _, m := range mutations {
		m.overlay(t, t.TempDir())
	}
}
