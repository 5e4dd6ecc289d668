package host

import (
	"context"
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/shirou/gopsutil/v4/sensors"
)

const (
	temperaturesEvery = 5 * time.Second // some sensors take milliseconds, and wake what they are in
	temperaturesKeep  = 30 * time.Second
)

// implausible is above every threshold that a chip can mean: NVMe drives write
// 65,261.85 °C for "none".
const implausible = 1000

func newTemperatures(p paths) *slow[[]Temperature] {
	return &slow[[]Temperature]{
		every: temperaturesEvery,
		keep:  temperaturesKeep,
		read:  func() ([]Temperature, error) { return readTemperatures(p) },
	}
}

func readTemperatures(p paths) ([]Temperature, error) {
	stats, err := sensors.TemperaturesWithContext(p.tell(context.Background()))
	var warnings *sensors.Warnings
	if err != nil && !errors.As(err, &warnings) {
		return nil, err
	}
	// Warnings tell of sensors that are asleep or refuse; the others are good.
	return temperaturesOf(stats), nil
}

// temperaturesOf gives each sensor a name of its own: two drives of one kind
// come with the same.
func temperaturesOf(stats []sensors.TemperatureStat) []Temperature {
	if len(stats) == 0 {
		return nil // no sensor is no news: a virtual machine has none
	}
	times := map[string]int{}
	temperatures := make([]Temperature, 0, len(stats))
	for _, s := range stats {
		name := s.SensorKey
		if times[s.SensorKey]++; times[s.SensorKey] > 1 {
			name += "_" + strconv.Itoa(times[s.SensorKey])
		}
		temperatures = append(temperatures, Temperature{
			Sensor: name, Celsius: rounded(s.Temperature, 1),
			High: threshold(s.High), Critical: threshold(s.Critical),
		})
	}
	return temperatures
}

// threshold is nil for 0, which gopsutil says for "none".
func threshold(celsius float64) *float64 {
	if math.IsNaN(celsius) || celsius <= 0 || celsius > implausible {
		return nil
	}
	celsius = rounded(celsius, 1)
	return &celsius
}
