package docker

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// sample is what a container has used by one moment. Nil is unknown.
type sample struct {
	read        time.Time // by the engine's clock
	cpu         time.Duration
	onlineCPUs  uint32
	memory      *uint64 // bytes, without inactive file cache
	memoryLimit *uint64 // bytes
	network     *traffic
	disk        *traffic
	pids        *uint64
}

// traffic is what has gone in and out since a counter began.
type traffic struct{ in, out uint64 } // bytes

// answer is what is read of an engine's statistics: the parts that Docker with
// either version of control groups and Podman have in common.
type answer struct {
	Read time.Time `json:"read"`
	CPU  struct {
		Usage struct {
			Total   uint64   `json:"total_usage"` // nanoseconds
			PerCore []uint64 `json:"percpu_usage"`
		} `json:"cpu_usage"`
		Online uint32 `json:"online_cpus"`
	} `json:"cpu_stats"`
	Memory struct {
		Usage *uint64 `json:"usage"`
		Limit uint64  `json:"limit"`
		Stats struct {
			TotalInactiveFile uint64 `json:"total_inactive_file"`
			InactiveFile      uint64 `json:"inactive_file"`
		} `json:"stats"`
	} `json:"memory_stats"`
	Networks map[string]struct {
		Received    uint64 `json:"rx_bytes"`
		Transmitted uint64 `json:"tx_bytes"`
	} `json:"networks"`
	Disk struct {
		Bytes []struct {
			Op    string `json:"op"`
			Value uint64 `json:"value"`
		} `json:"io_service_bytes_recursive"`
	} `json:"blkio_stats"`
	PIDs struct {
		Current uint64 `json:"current"`
	} `json:"pids_stats"`
}

// errNotRunning is what an engine's answer for a container without processes
// comes to: all zeros.
var errNotRunning = errors.New("the container does not run")

// unlimited is where limits begin that are none: version 1 of control groups
// says so with the largest multiple of the page size below 1<<63.
const unlimited = 1 << 62

func parseSample(text []byte) (sample, error) {
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		return sample{}, fmt.Errorf("parse statistics: %w", err)
	}
	return a.sample()
}

func (a answer) sample() (sample, error) {
	if a.Read.IsZero() || a.CPU.Usage.Total == 0 && a.Memory.Usage == nil {
		return sample{}, errNotRunning
	}
	s := sample{
		read:       a.Read,
		cpu:        time.Duration(min(a.CPU.Usage.Total, 1<<63-1)),
		onlineCPUs: a.CPU.Online,
		network:    a.network(),
		disk:       a.disk(),
	}
	if s.onlineCPUs == 0 {
		s.onlineCPUs = uint32(len(a.CPU.Usage.PerCore))
	}
	if a.Memory.Usage != nil {
		used := a.withoutCache()
		s.memory = &used
	}
	if a.Memory.Limit > 0 && a.Memory.Limit < unlimited {
		s.memoryLimit = &a.Memory.Limit
	}
	if a.PIDs.Current > 0 {
		s.pids = &a.PIDs.Current
	}
	return s, nil
}

// withoutCache is the memory use as the docker command shows it: the kernel can
// take inactive file cache back at any time. Version 1 of control groups has it
// with all descendants as total_inactive_file, version 2 as inactive_file; Podman
// doesn't say.
func (a answer) withoutCache() uint64 {
	used := *a.Memory.Usage
	for _, cache := range []uint64{a.Memory.Stats.TotalInactiveFile, a.Memory.Stats.InactiveFile} {
		if cache > 0 && cache < used {
			return used - cache
		}
	}
	return used
}

// network is the sum over interfaces; unknown for a container that has none of
// its own, such as one on the host's network.
func (a answer) network() *traffic {
	if len(a.Networks) == 0 {
		return nil
	}
	var t traffic
	for _, n := range a.Networks {
		t.in += n.Received
		t.out += n.Transmitted
	}
	return &t
}

// disk is the sum over block devices; unknown where nothing is said, which is so
// until the first transfer, and for ever where the kernel doesn't count.
func (a answer) disk() *traffic {
	if len(a.Disk.Bytes) == 0 {
		return nil
	}
	var t traffic
	for _, entry := range a.Disk.Bytes {
		switch { // Read and Write with version 1 of control groups, read and write with 2
		case strings.EqualFold(entry.Op, "read"):
			t.in += entry.Value
		case strings.EqualFold(entry.Op, "write"):
			t.out += entry.Value
		}
	}
	return &t
}
