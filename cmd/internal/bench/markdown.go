package bench

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// picture is the report's file beside BENCHMARKS.md.
const picture = "BENCHMARKS.svg"

// WriteMarkdown writes a report for people.
func (r *Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString(`# Benchmarks

What an edge costs, as ` + "`make bench`" + ` measured it: one command, which anyone can repeat. Figures of different machines do not
compare, and those of one machine drift; what travels is the ratio to the floor, measured in turn with it.

`)
	fmt.Fprintf(&b, "| | |\n|---|---|\n")
	fmt.Fprintf(&b, "| program | %s |\n", r.Version)
	fmt.Fprintf(&b, "| machine | %s |\n", r.Machine)
	fmt.Fprintf(&b, "| date | %s, %s of measuring |\n", r.Began.UTC().Format("2 January 2006 15:04 MST"), r.Took.Round(time.Second))
	if r.Busy != "" {
		fmt.Fprintf(&b, "| load average before | %s |\n", r.Busy)
	}
	fmt.Fprintf(&b, "| each figure | median of %d, with the least and the most |\n\n", r.Repeat)

	r.deliveries(&b)
	r.connections(&b)
	r.variations(&b)
	b.WriteString(howMeasured)
	_, err := io.WriteString(w, b.String())
	return err
}

// deliveries is the table of what was published.
func (r *Report) deliveries(b *strings.Builder) {
	var latencies bool
	for _, row := range r.Rows {
		if row.Rate == 0 || row.Against != "" {
			continue
		}
		if !latencies {
			latencies = true
			b.WriteString("## Delivering\n\n")
			b.WriteString("| load | | edge | floor | ratio |\n|---|---|---|---|---|\n")
		}
		line := func(name, what, unit string, compare bool, figure func(*Result) float64) {
			floor, ratio := "", ""
			if len(row.Floor) > 0 {
				floor = of(row.Floor, figure).in(unit)
				if compare {
					ratio = "**" + row.ratio(row.Floor, figure).in("") + "**"
				}
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", name, what, of(row.Edge, figure).in(unit), floor, ratio)
		}
		line("**"+row.Name+"**", "CPU per delivery", " µs", true, func(r *Result) float64 { return r.Server.CPUPerDelivery })
		line(row.Scenario.String(), "latency p50", " ms", true, func(r *Result) float64 { return millis(r.Latency.at(50)) })
		line("", "latency p99", " ms", true, func(r *Result) float64 { return millis(r.Latency.at(99)) })
		line("", "deliveries per second", "", false, func(r *Result) float64 { return r.Deliveries.PerSecond })
		line("", "memory under load", " MB", false, func(r *Result) float64 { return float64(r.Server.BytesLoaded) / 1e6 })
	}
	if latencies {
		fmt.Fprintf(b, "\n![Latency by percentile](%s)\n\n", picture)
	}
}

// connections is the table of clients that are told nothing.
func (r *Report) connections(b *strings.Builder) {
	var any bool
	for _, row := range r.Rows {
		if row.Rate > 0 {
			continue
		}
		if !any {
			any = true
			b.WriteString("## Holding connections\n\n| load | | edge |\n|---|---|---|\n")
		}
		line := func(name, what, unit string, figure func(*Result) float64) {
			fmt.Fprintf(b, "| %s | %s | %s |\n", name, what, of(row.Edge, figure).in(unit))
		}
		line("**"+row.Name+"**", "memory per connection", " B", func(r *Result) float64 { return r.Server.BytesPerClient })
		line(row.Scenario.String(), "CPU per connect and subscribe", " µs", func(r *Result) float64 { return r.Server.CPUPerConnect })
		line("", "CPU per idle connection and second", " µs", func(r *Result) float64 { return r.Server.CPUPerIdleSecond })
		line("", "connections per second", "", func(r *Result) float64 { return r.Connections.PerSecond })
	}
	if any {
		b.WriteByte('\n')
	}
}

// variations is the table of loads that are held against another one.
func (r *Report) variations(b *strings.Builder) {
	var any bool
	for _, row := range r.Rows {
		base := r.row(row.Against)
		if base == nil {
			continue
		}
		if !any {
			any = true
			b.WriteString("## What changes the cost\n\nEach load beside the one that it is a variation of, measured in the same round.\n\n")
			b.WriteString("| load | | edge | against | ratio |\n|---|---|---|---|---|\n")
		}
		line := func(name, what, unit string, figure func(*Result) float64) {
			fmt.Fprintf(b, "| %s | %s | %s | %s | **%s** |\n", name, what, of(row.Edge, figure).in(unit), of(base.Edge, figure).in(unit),
				row.ratio(base.Edge, figure).in(""))
		}
		alone := func(what, unit string, figure func(*Result) float64) {
			fmt.Fprintf(b, "| | %s | %s | | |\n", what, of(row.Edge, figure).in(unit))
		}
		line("**"+row.Name+"**: "+row.What, "CPU per delivery", " µs", func(r *Result) float64 { return r.Server.CPUPerDelivery })
		line(row.Scenario.String(), "latency p99", " ms", func(r *Result) float64 { return millis(r.Latency.at(99)) })
		line("against "+base.Name, "bytes per delivery", " B", func(r *Result) float64 { return r.Deliveries.BytesPerSecond / r.Deliveries.PerSecond })
		line("", "memory under load", " MB", func(r *Result) float64 { return float64(r.Server.BytesLoaded) / 1e6 })
		if row.Slow > 0 {
			alone("of it for each client that does not read", " KB", func(r *Result) float64 {
				return float64(r.Server.BytesLoaded-r.Server.Bytes) / float64(r.Connections.Slow) / 1e3
			})
		}
		if row.Storm > 0 {
			alone("p99 before the storm", " ms", func(r *Result) float64 { return millis(r.Storm.LatencyBefore.at(99)) })
			alone("p99 during it", " ms", func(r *Result) float64 { return millis(r.Storm.LatencyDuring.at(99)) })
			alone("p99 after it", " ms", func(r *Result) float64 { return millis(r.Storm.LatencyAfter.at(99)) })
			alone("it connected, per second", "", func(r *Result) float64 { return r.Storm.PerSecond })
		}
		if row.Churn > 0 {
			alone("p99 of a subscribe or unsubscribe", " ms", func(r *Result) float64 { return millis(r.Churn.Took.at(99)) })
		}
	}
	if any {
		b.WriteByte('\n')
	}
}

// in writes a median with its unit and its spread.
func (m median) in(unit string) string {
	return fmt.Sprintf("%s%s (%s–%s)", figure(m.middle), unit, figure(m.least), figure(m.most))
}

const howMeasured = `## How

` + "`tidings bench report`" + ` starts a NATS and an edge for each measurement, as processes of their own on the loopback address, opens the
clients in its own process, publishes through JetStream, and stops them. No result counts in which a single message is missing, comes
twice, or comes out of order.

- **CPU** is what the edge's process used, all threads, by its CPU clock. It is user and system time: most of it is the
  kernel's, for sending. What NATS and the clients use is theirs. All of them share the cores, so latency suffers from the clients too.
- **Idle** connections are measured for two heartbeats of the edge, 50 s, and with them what its process does without any.
- **Latency** counts from when a message was due on the publisher's schedule until the client had read it: publishing,
  storing, republishing and delivering. A message that was sent late because something was busy is late (no coordinated omission).
- **Memory** is resident memory (` + "`Rss` of `smaps_rollup`" + `): per connection the growth from before the first to three seconds after the
  last was subscribed, so with the garbage of connecting, and without what the kernel holds for a socket.
- **The floor** is ` + "`tidings bench serve floor`" + `: a process with the same system calls and no features. It answers the
  handshake, takes every message from NATS by the same client library, frames it once and gives all that NATS brought at a time to
  every client in one write. It knows no topics, places, heartbeats or slow clients, and writes from one goroutine. It is written in Go
  on the same poller as the edge, so that whoever has this program can repeat the ratios. It is not the lowest floor there is: one in C
  that reads from NATS by hand saves the scheduler, the garbage and a second thread. To measure against that, write a program that does
  only the handshake and the writes, load it and an edge in turn with the same client, and compare CPU time per delivery.
- **Variations** are held against another load of the same edge, and not against the floor. The memory of clients that do not read
  is the growth from before anything was published; some of it is what every load needs.
- An edge sends more bytes than the floor: it wraps each payload in type, topic, place and time, some 120 bytes.

    make bench                                   these tables; REPEAT=1 for a first impression
    make bench-compare BASE=main                 micro-benchmarks of two commits, by benchstat
    tidings bench --name busy --pid PID          one row against an edge that runs
    tidings bench --name busy --floor            and against the floor
`

// WriteSVG draws the latencies of a report, the edge's and the floor's.
func (r *Report) WriteSVG(w io.Writer) error {
	d := drawing{
		title: "Latency by percentile",
		note:  fmt.Sprintf("%s · %s · %s", r.Machine, r.Began.Format("2 January 2006"), r.Version),
	}
	for _, row := range r.Rows {
		if row.Rate == 0 || row.Against != "" {
			continue
		}
		p := panel{title: row.Name + ": " + row.Scenario.String(), curves: []curve{{"edge", merged(row.Edge)}}}
		if len(row.Floor) > 0 {
			p.curves = append(p.curves, curve{"floor", merged(row.Floor)})
		}
		d.panels = append(d.panels, p)
	}
	return d.write(w)
}
