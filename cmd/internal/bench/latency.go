package bench

import (
	"encoding/json"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// latency is a distribution of times, kept to three significant digits (http://hdrhistogram.org).
type latency struct{ *hdrhistogram.Histogram }

// Times are kept in microseconds, and those above the longest as the longest.
const (
	tick        = time.Microsecond
	longestTime = 10 * time.Minute
)

func newLatency() latency {
	return latency{hdrhistogram.New(1, int64(longestTime/tick), 3)}
}

// record takes n equal times.
func (l latency) record(d time.Duration, n int64) {
	_ = l.RecordValues(min(max(int64(d/tick), 1), int64(longestTime/tick)), n) // which lies within what it tracks
}

// at is the time that the given share of all, in percent, does not exceed.
func (l latency) at(percentile float64) time.Duration {
	return time.Duration(l.ValueAtPercentile(percentile)) * tick
}

func (l latency) max() time.Duration  { return time.Duration(l.Max()) * tick }
func (l latency) mean() time.Duration { return time.Duration(l.Mean() * float64(tick)) }

// shown are the percentiles that a result tells.
var shown = []struct {
	name string
	at   float64
}{{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}, {"p99.99", 99.99}}

// MarshalJSON tells the percentiles in milliseconds.
func (l latency) MarshalJSON() ([]byte, error) {
	if l.Histogram == nil || l.TotalCount() == 0 {
		return []byte("null"), nil
	}
	values := map[string]float64{"mean": millis(l.mean()), "max": millis(l.max())}
	for _, p := range shown {
		values[p.name] = millis(l.at(p.at))
	}
	return json.Marshal(values)
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
