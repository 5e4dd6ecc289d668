package host

import (
	"math"
	"time"
)

// counters is what one device has counted since it came up, read at one moment.
// The order is the device kind's own.
type counters struct {
	at     time.Time // with its monotonic reading
	values []uint64
}

// perSecond are the rates between two readings of a device, or nil if they can't
// be told. One counter that fell is proof that the device was reset or a counter
// wrapped, and then none of its differences means anything.
func (c counters) perSecond(before counters) []float64 {
	elapsed := c.at.Sub(before.at).Seconds()
	if elapsed <= 0 || len(c.values) != len(before.values) {
		return nil
	}
	rates := make([]float64, len(c.values))
	for i, now := range c.values {
		if now < before.values[i] {
			return nil
		}
		rates[i] = float64(now-before.values[i]) / elapsed
	}
	return rates
}

// ratio is part/whole within 0..1, to a hundredth of a percent; unknown if there
// is no whole.
func ratio(part, whole float64) *float64 {
	if whole <= 0 {
		return nil
	}
	r := rounded(min(max(part/whole, 0), 1), 4)
	return &r
}

// rounded cuts the digits that measuring noise would fill, which are half the
// bytes of a message otherwise.
func rounded(v float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(v*scale) / scale
}

// rate is a per-second value as the payloads carry it.
func rate(v float64) *float64 {
	v = rounded(v, 2)
	return &v
}
