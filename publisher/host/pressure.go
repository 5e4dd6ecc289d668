package host

import (
	"errors"
	"os"

	"github.com/prometheus/procfs"
)

// readPressure reports nil where the kernel has no PSI: built without it, or
// booted with psi=0, when the files are there but refuse to be read.
func readPressure(p paths) (*Pressure, error) {
	fs, err := procfs.NewFS(p.proc)
	if err != nil {
		return nil, err
	}
	var pressure Pressure
	for _, r := range []struct {
		resource string
		stall    **Stall
	}{{"cpu", &pressure.CPU}, {"memory", &pressure.Memory}, {"io", &pressure.IO}} {
		if _, err := os.Stat(p.inProc("pressure", r.resource)); err != nil {
			continue
		}
		stats, err := fs.PSIStatsForResource(r.resource)
		if errors.Is(err, procfs.ErrFileRead) {
			continue
		}
		if err != nil {
			return nil, err
		}
		*r.stall = stallOf(stats)
	}
	if pressure.CPU != nil {
		pressure.CPU.Full10 = nil // written for the file's form alone, always 0
	}
	if pressure == (Pressure{}) {
		return nil, nil
	}
	return &pressure, nil
}

func stallOf(stats procfs.PSIStats) *Stall {
	return &Stall{Some10: tenSeconds(stats.Some), Full10: tenSeconds(stats.Full)}
}

func tenSeconds(line *procfs.PSILine) *float64 {
	if line == nil {
		return nil
	}
	return ratio(line.Avg10, 100)
}
