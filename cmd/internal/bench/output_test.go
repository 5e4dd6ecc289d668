package bench

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// sample is a result with everything in it.
func sample() *Result {
	l := newLatency()
	for i := range 10_000 {
		l.record(time.Duration(i+1)*10*time.Microsecond, 1)
	}
	return &Result{
		Load:  Scenario{Name: "sample", Clients: 1000, Rate: 300, Duration: 10 * time.Second, Warmup: time.Second},
		Began: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Version: "tidings v1",
		Machine:     Machine{Processor: "A & B <1>", Cores: 2, System: "Linux 6", Go: "go1.26"},
		Connections: Connections{Opened: 1000, PerSecond: 4321, Took: l},
		Messages:    &Messages{Published: 3000, PerSecond: 300, Late: l},
		Deliveries:  &Deliveries{Expected: 3_000_000, Arrived: 3_000_000, PerSecond: 300_000, BytesPerSecond: 186e6},
		Latency:     l,
		Server:      &Server{CPUPerConnect: 52.1, BytesPerClient: 987.6, Bytes: 24e6, BytesLoaded: 30e6, CPUPerDelivery: 2.345, Cores: 0.7},
		OwnCores:    0.9,
	}
}

func TestWriteTable_TellsAll(t *testing.T) {
	var b strings.Builder
	if err := WriteTable(&b, sample()); err != nil {
		t.Fatal(err)
	}
	const want = `sample: 1,000 clients, 1 topic, 300 msg/s, 512 bytes

  connected    1,000 clients, 4,321 a second; each took p50 50.0 ms, p90 90.0 ms, p99 99.0 ms, p99.9 99.9 ms, max 100 ms
  published    3,000 messages, 300 a second, up to 100 ms late
  delivered    3,000,000 of 3,000,000, 300,000 a second, 186 MB/s; each once and in order, none missing
  latency      p50 50.0 ms, p90 90.0 ms, p99 99.0 ms, p99.9 99.9 ms, max 100 ms
  edge         2.35 µs of CPU per delivery, 0.70 cores
               24 MB resident, 988 B per connection; 30 MB under load
               52.1 µs of CPU per connect and subscribe
  this bench   0.90 cores
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestWriteTable_DoesNotHideWhatIsMissing(t *testing.T) {
	r := sample()
	r.Deliveries.Arrived--
	var b strings.Builder
	if err := WriteTable(&b, r); err != nil || !strings.Contains(b.String(), "2,999,999 of 3,000,000, 300,000 a second, 186 MB/s; NOT COMPLETE") {
		t.Errorf("%v: %s", err, &b)
	}
	if err := r.Fault(); err == nil || err.Error() != "1 deliveries are missing" {
		t.Errorf("the fault is %v", err)
	}
	r.Deliveries.Arrived = 0
	if err := r.Fault(); err == nil || err.Error() != "3,000,000 deliveries are missing, which is all of them: is --nats the NATS of that edge, and --prefix its prefix?" {
		t.Errorf("of a bench at another NATS the fault is %v", err)
	}
}

func TestResult_JSONHasUnits(t *testing.T) {
	text, err := json.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"name":"sample","clients":1000,`, `"duration_seconds":10,"warmup_seconds":1}`, `"latency_ms":{"max":100`, `"p99":99.0`,
		`"cpu_us_per_delivery":2.345`, `"resident_bytes_per_connection":987.6`, `"began":"2026-03-04T05:06:07Z"`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	if text, err = json.Marshal(&Result{}); err != nil || !strings.Contains(string(text), `"latency_ms":null`) {
		t.Errorf("of nothing: %s, %v", text, err)
	}
}

func TestWriteHgrm_IsWhatHdrHistogramReads(t *testing.T) {
	var b strings.Builder
	if err := WriteHgrm(&b, sample()); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^ +50\.\d+ +0\.5\d+ +\d+ +2\.\d\d$`).MatchString(b.String()) || !strings.Contains(b.String(), "#[Max     =      100") {
		t.Errorf("wrote\n%s", &b)
	}
}

func TestWriteSVG_StandsForItself(t *testing.T) {
	nothing := sample()
	nothing.Latency = latency{}
	for name, r := range map[string]*Result{"sample": sample(), "nothing measured": nothing} {
		var b strings.Builder
		if err := WriteSVG(&b, r); err != nil {
			t.Fatal(err)
		}
		picture := b.String()
		for d := xml.NewDecoder(strings.NewReader(picture)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if strings.Contains(strings.ReplaceAll(picture, "http://www.w3.org/2000/svg", ""), "http") {
			t.Errorf("%s: it needs something else", name)
		}
		if !strings.Contains(picture, "prefers-color-scheme: dark") || !strings.Contains(picture, "A &amp; B &lt;1&gt;") {
			t.Errorf("%s:\n%s", name, picture)
		}
		if regexp.MustCompile(`NaN|Inf|%!`).MatchString(picture) {
			t.Errorf("%s: a place that is no number:\n%s", name, picture)
		}
		if drawn := strings.Contains(picture, `class="curve c0"`); drawn != (name == "sample") {
			t.Errorf("%s: drawn is %v", name, drawn)
		}
	}
}

// Letters of a bold font are 9 units wide at most, taken together: nothing that is written may be cut off.
func TestSVG_NamesFitIntoIt(t *testing.T) {
	for _, most := range []time.Duration{8880 * time.Microsecond, 14 * time.Millisecond, 99900 * time.Millisecond} {
		r := sample()
		r.Latency = newLatency()
		r.Latency.record(most, 1)
		var b strings.Builder
		if err := WriteSVG(&b, r); err != nil {
			t.Fatal(err)
		}
		names := regexp.MustCompile(`<text class="n0" x="([0-9.]+)" y="[0-9.]+">([^<]+)`).FindAllStringSubmatch(b.String(), -1)
		for _, name := range names {
			if x, err := strconv.ParseFloat(name[1], 64); err != nil || x+9*float64(utf8.RuneCountInString(name[2])) > pictureWidth {
				t.Errorf("%q begins at %s of %g: %v", name[2], name[1], pictureWidth, err)
			}
		}
		if len(names) != 1 {
			t.Errorf("%v: %d names", most, len(names))
		}
	}
}

func TestSVG_CurveRisesWithinItsPanel(t *testing.T) {
	var b strings.Builder
	if err := WriteSVG(&b, sample()); err != nil {
		t.Fatal(err)
	}
	path := regexp.MustCompile(`class="curve c0" d="([^"]+)"`).FindStringSubmatch(b.String())[1]
	x, y := plotLeft-1, plotBottom+1
	for _, point := range strings.FieldsFunc(path, func(r rune) bool { return r == 'M' || r == 'L' }) {
		var nx, ny float64
		if _, err := fmt.Sscan(point, &nx, &ny); err != nil {
			t.Fatalf("%q: %v", point, err)
		}
		if nx < x || ny > y || nx > plotRight || ny < plotTop {
			t.Fatalf("after %g %g comes %g %g", x, y, nx, ny)
		}
		x, y = nx, ny
	}
	if x != plotRight {
		t.Errorf("it ends at %g", x)
	}
}

func TestRound_StepsAreOneTwoFive(t *testing.T) {
	for _, c := range []struct{ d, down, up time.Duration }{
		{1, 1, 1}, {3, 2, 5}, {5, 5, 5}, {7, 5, 10}, {10, 10, 10}, {99, 50, 100}, {101, 100, 200}, {1999, 1000, 2000},
	} {
		if down, up := roundDown(c.d), roundUp(c.d); down != c.down || up != c.up {
			t.Errorf("%d lies between %d and %d, not %d and %d", c.d, c.down, c.up, down, up)
		}
	}
}

func TestReport_MediansAndRatios(t *testing.T) {
	row := Row{Standard: Standing[0]}
	for i, cost := range []float64{2, 6, 3, 9, 4} {
		e, f := sample(), sample()
		e.Server.CPUPerDelivery, f.Server.CPUPerDelivery = cost, []float64{1, 2, 3, 2, 4}[i]
		row.Edge, row.Floor = append(row.Edge, e), append(row.Floor, f)
	}
	idle := sample()
	idle.Server.CPUPerIdleSecond = 0.42
	r := Report{Version: "tidings v1", Machine: sample().Machine, Began: sample().Began, Took: time.Minute, Busy: "0.01 0.02 0.03", Repeat: 5,
		Rows: []Row{row, {Standard: Standing[3], Edge: []*Result{idle, idle}}}}
	var b, picture strings.Builder
	if err := errors.Join(r.WriteMarkdown(&b), r.WriteSVG(&picture)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| program | tidings v1 |\n", "| date | 4 March 2026 05:06 UTC, 1m0s of measuring |\n", "| load average before | 0.01 0.02 0.03 |\n",
		"| **unbatched** | CPU per delivery | 4.00 µs (2.00–9.00) | 2.00 µs (1.00–4.00) | **2.00 (1.00–4.50)** |\n",
		"| 10,000 clients, 100 topics, 5 of them each, no messages | CPU per connect and subscribe | 52.1 µs (52.1–52.1) |\n",
		"|  | CPU per idle connection and second | 0.42 µs (0.42–0.42) |\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in\n%s", want, &b)
		}
	}
	if n := strings.Count(picture.String(), `class="curve`); n != 2 {
		t.Errorf("%d curves", n)
	}
}

func TestReport_VariationsAreHeldAgainstTheirLoadOfTheSameRound(t *testing.T) {
	base, variation := Row{Standard: named(t, "steady")}, Row{Standard: named(t, "slow")}
	storm, alone := Row{Standard: named(t, "storm")}, Row{Standard: named(t, "wide")}
	for i, cost := range []float64{2, 6, 3} {
		b, v := sample(), sample()
		b.Server.CPUPerDelivery, v.Server.CPUPerDelivery = cost, 1.5*cost
		v.Connections.Slow = 100
		base.Edge, variation.Edge = append(base.Edge, b), append(variation.Edge, v)
		s := sample()
		s.Storm = &Storm{PerSecond: float64(1000 * (i + 1)), LatencyBefore: s.Latency, LatencyDuring: s.Latency, LatencyAfter: newLatency()}
		storm.Edge, alone.Edge = append(storm.Edge, s), append(alone.Edge, sample())
	}
	r := Report{Repeat: 3, Rows: []Row{base, variation, storm, alone}}
	var b strings.Builder
	if err := r.WriteMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(b.String(), "## What changes the cost")
	for _, want := range []string{
		"| **slow**: one client in ten does not read at all | CPU per delivery | 4.50 µs (3.00–9.00) | 3.00 µs (2.00–6.00) | **1.50 (1.50–1.50)** |\n",
		"| | of it for each client that does not read | 60.0 KB (60.0–60.0) | | |\n",
		"| | p99 during it | 99.0 ms (99.0–99.0) | | |\n",
		"| | it connected, per second | 2,000 (1,000–3,000) | | |\n",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("no %s in\n%s", want, table)
		}
	}
	if strings.Contains(table, "**wide**") {
		t.Error("a variation of what was not measured has a row")
	}
}

func named(t *testing.T, name string) Standard {
	t.Helper()
	s, err := Named(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStanding_NamesAreUniqueAndTheLoadsPossible(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Standing {
		if seen[s.Name] {
			t.Errorf("%s is there twice", s.Name)
		}
		seen[s.Name] = true
		if err := (Config{Scenario: s.Scenario}).Validate(); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
		if s.Against != "" && (!seen[s.Against] || named(t, s.Against).Against != "") {
			t.Errorf("%s is held against %s, which is not measured before it or is a variation itself", s.Name, s.Against)
		}
		if got, err := Named(s.Name); err != nil || got.Scenario != s.Scenario {
			t.Errorf("%s is not found: %v", s.Name, err)
		}
	}
	if _, err := Named("none"); err == nil || !strings.Contains(err.Error(), "unbatched, busy") {
		t.Errorf("one that is not there: %v", err)
	}
}
