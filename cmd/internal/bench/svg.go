package bench

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"
	"time"
)

// WriteSVG draws a result's latency by percentile, as a picture that stands for itself and follows a browser's light
// or dark.
func WriteSVG(w io.Writer, r *Result) error {
	title := "Latency by percentile"
	if r.Load.Name != "" {
		title = r.Load.Name + ": latency by percentile"
	}
	note := fmt.Sprintf("%s · %s · %s", r.Machine, r.Began.Format("2 January 2006"), r.Version)
	return drawing{title: title, note: note, panels: []panel{{title: r.Load.String(), curves: []curve{{"", r.Latency}}}}}.write(w)
}

// drawing is panels below each other.
type drawing struct {
	title, note string
	panels      []panel
}

// panel is one pair of axes: percentiles, ten times rarer from one line to the next, and time, by its logarithm.
type panel struct {
	title  string
	curves []curve // the first one is the one that it is about
}

// curve is one distribution.
type curve struct {
	name string
	latency
}

// Of the picture, in its own units.
const (
	pictureWidth = 860.0
	headHeight   = 64.0
	panelHeight  = 330.0
	footHeight   = 16.0
	plotLeft     = 84.0
	plotRight    = pictureWidth - 120 // behind it stand the curves' names
	plotTop      = 44.0               // within a panel
	plotBottom   = 284.0
)

const style = `
  svg { --paper: #ffffff; --ink: #1b2430; --soft: #5d6b7a; --grid: #e4e8ed; --axis: #b6c0ca; --first: #0b6bcb; --second: #9a6700;
        background: var(--paper); font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #11161d; --ink: #e3e9f0; --soft: #93a1b0; --grid: #232c37; --axis: #465463; --first: #58a6ff; --second: #d9a441; }
  }
  .paper { fill: var(--paper); }
  text { fill: var(--soft); font-variant-numeric: tabular-nums; }
  .title { fill: var(--ink); font-size: 19px; font-weight: 600; }
  .panel { fill: var(--ink); font-size: 14px; font-weight: 600; }
  .value { fill: var(--ink); font-weight: 600; paint-order: stroke; stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round; }
  .grid { stroke: var(--grid); } .axis { stroke: var(--axis); }
  .curve { fill: none; stroke-width: 2.5; stroke-linejoin: round; stroke-linecap: round; }
  .c0 { stroke: var(--first); } .c1 { stroke: var(--second); stroke-dasharray: 7 5; }
  .n0 { fill: var(--first); font-weight: 600; } .n1 { fill: var(--second); font-weight: 600; }
  .dot { fill: var(--paper); stroke: var(--first); stroke-width: 2.5; }
`

func (d drawing) write(w io.Writer) error {
	var b strings.Builder
	height := headHeight + panelHeight*float64(len(d.panels)) + footHeight
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" width="%g" height="%g" role="img" aria-labelledby="title note">`+"\n",
		pictureWidth, height, pictureWidth, height)
	fmt.Fprintf(&b, "<title id=\"title\">%s</title>\n<style>%s</style>\n", html.EscapeString(d.title), style)
	fmt.Fprintf(&b, `<rect class="paper" width="100%%" height="100%%"/>`+"\n")
	fmt.Fprintf(&b, `<text class="title" x="24" y="32">%s</text>`+"\n", html.EscapeString(d.title))
	fmt.Fprintf(&b, `<text id="note" x="24" y="52">%s</text>`+"\n", html.EscapeString(d.note))
	for i, p := range d.panels {
		fmt.Fprintf(&b, `<g transform="translate(0 %g)">`+"\n", headHeight+panelHeight*float64(i))
		p.write(&b)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (p panel) write(b *strings.Builder) {
	fmt.Fprintf(b, `<text class="panel" x="24" y="24">%s</text>`+"\n", html.EscapeString(p.title))
	a, ok := p.axes()
	if !ok {
		fmt.Fprintf(b, `<text x="24" y="64">nothing was measured</text>`+"\n")
		return
	}
	a.write(b)
	taken := []float64{} // heights where a name stands already
	for i, c := range p.curves {
		if c.TotalCount() == 0 {
			continue
		}
		var path strings.Builder
		x, y := 0.0, 0.0
		for k, point := range c.CumulativeDistributionWithTicks(10) {
			x, y = a.x(point.Quantile), a.y(time.Duration(point.ValueAt)*tick)
			fmt.Fprintf(&path, "%c%.1f %.1f", "ML"[min(k, 1)], x, y)
		}
		fmt.Fprintf(b, `<path class="curve c%d" d="%s"/>`+"\n", i%2, path.String())
		for _, t := range taken {
			if math.Abs(y-t) < 16 {
				y = t + 16
			}
		}
		taken = append(taken, y)
		name := c.name
		if name == "" {
			name = "max " + short(c.max())
		}
		fmt.Fprintf(b, `<text class="n%d" x="%.1f" y="%.1f">%s</text>`+"\n", i%2, plotRight+8, y+4, html.EscapeString(name))
	}
	for _, q := range []float64{50, 99, 99.9} {
		if q > 99 && a.nines < 4 {
			break // few values are that rare
		}
		// Right below a point of a curve that rises there is nothing else.
		v := p.curves[0].at(q)
		fmt.Fprintf(b, `<circle class="dot" cx="%.1f" cy="%.1f" r="4"/>`+"\n", a.x(q), a.y(v))
		fmt.Fprintf(b, `<text class="value" x="%.1f" y="%.1f">%s</text>`+"\n", a.x(q)+6, a.y(v)+18, short(v))
	}
}

// axes map percentiles and times onto a panel.
type axes struct {
	nines      float64 // how many of them the right end has: 3 is 99.9%
	least      time.Duration
	most       time.Duration
	percentile []float64
}

// axes fit all curves. There are none without a value.
func (p panel) axes() (a axes, ok bool) {
	a.nines = 2
	for _, c := range p.curves {
		if c.Histogram == nil || c.TotalCount() == 0 {
			continue
		}
		ok = true
		a.nines = max(a.nines, math.Log10(float64(c.TotalCount())))
		if least := c.at(0); a.least == 0 || least < a.least {
			a.least = least
		}
		a.most = max(a.most, c.max())
	}
	a.least, a.most = roundDown(a.least), roundUp(a.most)
	a.percentile = []float64{0, 50, 90}
	for n := 2; float64(n) <= a.nines; n++ {
		a.percentile = append(a.percentile, 100-math.Pow(10, float64(2-n)))
	}
	return a, ok
}

func (a axes) x(percentile float64) float64 {
	nines := a.nines
	if percentile < 100 {
		nines = min(nines, -math.Log10(1-percentile/100))
	}
	return plotLeft + nines/a.nines*(plotRight-plotLeft)
}

func (a axes) y(d time.Duration) float64 {
	share := math.Log(float64(max(d, a.least))/float64(a.least)) / math.Log(float64(a.most)/float64(a.least))
	return plotBottom - share*(plotBottom-plotTop)
}

func (a axes) write(b *strings.Builder) {
	for d := a.least; d <= a.most; d = roundUp(d + 1) {
		fmt.Fprintf(b, `<path class="grid" d="M%g %.1fH%g"/><text x="%g" y="%.1f" text-anchor="end">%s</text>`+"\n",
			plotLeft, a.y(d), plotRight, plotLeft-10, a.y(d)+4, whole(d))
	}
	for _, q := range a.percentile {
		fmt.Fprintf(b, `<path class="grid" d="M%.1f %gV%g"/><text x="%.1f" y="%g" text-anchor="middle">%s</text>`+"\n",
			a.x(q), plotTop, plotBottom, a.x(q), plotBottom+20, percent(q/100))
	}
	fmt.Fprintf(b, `<path class="axis" d="M%g %gV%gH%g" fill="none"/>`+"\n", plotLeft, plotTop, plotBottom, plotRight)
}

// roundDown is the last 1, 2 or 5 with zeros behind it that is not above d.
func roundDown(d time.Duration) time.Duration {
	down := time.Duration(1)
	for next := down; next <= d; next = roundUp(next + 1) {
		down = next
	}
	return down
}

// roundUp is the next 1, 2 or 5 with zeros behind it that is not below d.
func roundUp(d time.Duration) time.Duration {
	for unit := time.Duration(1); ; unit *= 10 {
		for _, digit := range []time.Duration{1, 2, 5} {
			if digit*unit >= d {
				return digit * unit
			}
		}
	}
}

// whole writes a round time.
func whole(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%g s", d.Seconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%g ms", micros(d)/1000)
	}
	return fmt.Sprintf("%g µs", micros(d))
}
