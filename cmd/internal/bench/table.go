package bench

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// WriteTable writes a result for people.
func WriteTable(w io.Writer, r *Result) error {
	var b strings.Builder
	name := r.Load.Name
	if name != "" {
		name += ": "
	}
	fmt.Fprintf(&b, "%s%s", name, r.Load)
	if r.Interrupted {
		b.WriteString(" (stopped before its end)")
	}
	b.WriteString("\n\n")
	line := func(word, format string, args ...any) {
		fmt.Fprintf(&b, "  %-12s %s\n", word, fmt.Sprintf(format, args...))
	}

	c := r.Connections
	line("connected", "%s clients, %s a second; each took %s", thousands(c.Opened), thousands(int(c.PerSecond)), c.Took)
	if m := r.Messages; m != nil {
		line("published", "%s messages, %s a second, up to %s late", thousands(m.Published), figure(m.PerSecond), short(m.Late.max()))
	}
	if d := r.Deliveries; d != nil {
		line("delivered", "%s of %s, %s a second, %s/s; %s", thousands(d.Arrived), thousands(d.Expected), thousands(int(d.PerSecond)), memory(d.BytesPerSecond), d.order())
		line("latency", "%s", r.Latency)
	}
	if s := r.Storm; s != nil {
		line("storm", "%s clients within %s s, %s a second; each took %s", thousands(s.Opened), figure(s.Seconds), thousands(int(s.PerSecond)), s.Took)
		line("", "latency before: %s", s.LatencyBefore)
		line("", "latency during: %s", s.LatencyDuring)
		line("", "latency after:  %s", s.LatencyAfter)
	}
	if c := r.Churn; c != nil {
		line("churn", "%s subscribes and unsubscribes, %s a second; each took %s", thousands(c.Requests), thousands(int(c.PerSecond)), c.Took)
	}
	if s := r.Server; s != nil {
		name := "edge"
		if r.Floor {
			name = "floor"
		}
		s.lines(name, line)
	}
	if r.OwnCores > 0 {
		line("this bench", "%.2f cores", r.OwnCores)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// order says in words what is known of completeness.
func (d *Deliveries) order() string {
	switch {
	case d.Unchecked:
		return "without a place to check them by"
	case d.Conflating && d.Holes > 0:
		return fmt.Sprintf("the newest each, older ones skipped %s times", thousands(d.Holes))
	case d.Arrived < d.Expected || d.Holes > 0 || d.Repeated > 0 || d.Strangers > 0:
		return "NOT COMPLETE"
	}
	return "each once and in order, none missing"
}

func (s *Server) lines(name string, line func(word, format string, args ...any)) {
	if s.CPUPerDelivery > 0 {
		line(name, "%s µs of CPU per delivery, %.2f cores", figure(s.CPUPerDelivery), s.Cores)
	}
	if s.CPUPerIdleSecond > 0 {
		line(name, "%s µs of CPU per idle connection and second", figure(s.CPUPerIdleSecond))
	}
	held := fmt.Sprintf("%s resident, %s per connection", memory(float64(s.Bytes)), memory(s.BytesPerClient))
	if s.BytesLoaded > 0 {
		held += fmt.Sprintf("; %s under load", memory(float64(s.BytesLoaded)))
	}
	line("", "%s", held)
	line("", "%s µs of CPU per connect and subscribe", figure(s.CPUPerConnect))
}

// String tells the percentiles.
func (l latency) String() string {
	if l.Histogram == nil || l.TotalCount() == 0 {
		return "nothing measured"
	}
	var b strings.Builder
	for _, p := range shown {
		if float64(l.TotalCount())*(100-p.at) < 200 {
			break // less than two values are that rare
		}
		fmt.Fprintf(&b, "%s %s, ", p.name, short(l.at(p.at)))
	}
	return b.String() + "max " + short(l.max())
}

// short writes a time with three digits.
func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return figure(d.Seconds()) + " s"
	case d >= time.Millisecond:
		return figure(micros(d)/1000) + " ms"
	}
	return figure(micros(d)) + " µs"
}

// thousands writes a number with its thousands apart.
func thousands[T int | int64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	digits := strings.TrimPrefix(s, "-")
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return s[:len(s)-len(strings.TrimPrefix(s, "-"))] + digits
}

// figure writes a number with three digits, or all of those before the point.
func figure(f float64) string {
	switch {
	case f >= 99.95:
		return thousands(int(f + 0.5))
	case f >= 9.995:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 2, 64)
}

// memory writes an amount of memory with its unit.
func memory(n float64) string {
	unit := 0
	for units := len(byteUnits); n >= 10_000 && unit < units-1; unit++ {
		n /= 1000
	}
	return thousands(int(n+0.5)) + " " + byteUnits[unit]
}

var byteUnits = []string{"B", "kB", "MB", "GB", "TB"}

func percent(share float64) string { return fmt.Sprintf("%.8g%%", 100*share) }
