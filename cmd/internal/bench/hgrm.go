package bench

import (
	"fmt"
	"io"
)

// WriteHgrm writes a result's latency as HdrHistogram's own tools read it (a .hgrm file, in milliseconds).
func WriteHgrm(w io.Writer, r *Result) error {
	if r.Latency.Histogram == nil {
		return nil // nothing was published
	}
	const ticksPerHalf = 5 // lines each time the rest is halved
	if _, err := r.Latency.PercentilesPrint(w, ticksPerHalf, 1000); err != nil {
		return fmt.Errorf("write the histogram: %w", err)
	}
	return nil
}
