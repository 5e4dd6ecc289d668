package host

import "tidings/publisher"

// Metrics is the payload of metrics.<host>. A pointer or slice that is nil is
// left out: absent means unknown, and 0 means 0. Rates are absent from the first
// beat and from the one after a counter was reset.
type Metrics struct {
	IntervalSeconds float64       `json:"intervalSeconds"` // from beat to beat, as configured
	Host            string        `json:"host"`
	CPU             *CPU          `json:"cpu,omitempty"`
	Load            []float64     `json:"load,omitempty"` // over 1, 5 and 15 minutes
	Memory          *Memory       `json:"memory,omitempty"`
	Swap            *Swap         `json:"swap,omitempty"`
	Filesystems     []Filesystem  `json:"filesystems,omitzero"`
	Disks           []Disk        `json:"disks,omitzero"`
	Networks        []Network     `json:"networks,omitzero"`
	Temperatures    []Temperature `json:"temperatures,omitzero"`
	Pressure        *Pressure     `json:"pressure,omitempty"`
	UptimeSeconds   *uint64       `json:"uptimeSeconds,omitempty"`
	Processes       *Processes    `json:"processes,omitempty"`
}

// CPU is how busy the processors were since the last beat, as ratios of all
// (utilization, modes) or of one each (cores).
type CPU struct {
	Utilization  *float64  `json:"utilization,omitempty"` // all but idle and iowait
	LogicalCount int       `json:"logicalCount"`
	Modes        *CPUModes `json:"modes,omitempty"`
	Cores        []float64 `json:"cores,omitempty"`
}

// CPUModes are shares of all processors' time. Nice counts as user, interrupts
// count as system.
type CPUModes struct {
	User   float64 `json:"user"`
	System float64 `json:"system"`
	Iowait float64 `json:"iowait"`
	Steal  float64 `json:"steal"`
}

// Memory is in bytes. Used is what programs could not get without swapping:
// limit less available.
type Memory struct {
	Limit       uint64   `json:"limit"`
	Used        *uint64  `json:"used,omitempty"`
	Available   *uint64  `json:"available,omitempty"`
	Free        *uint64  `json:"free,omitempty"`
	Cached      *uint64  `json:"cached,omitempty"` // page cache and reclaimable slab, as free(1) has it
	Buffers     *uint64  `json:"buffers,omitempty"`
	Utilization *float64 `json:"utilization,omitempty"`
}

// Swap is in bytes. A host without swap has limit 0 and no utilization.
type Swap struct {
	Limit       uint64   `json:"limit"`
	Used        *uint64  `json:"used,omitempty"`
	Utilization *float64 `json:"utilization,omitempty"`
}

// Filesystem is in bytes. Free is what an unprivileged user may still write, so
// used and free are less than limit where some is reserved, and utilization is
// used/(used+free), as df(1) has it.
type Filesystem struct {
	Mountpoint  string   `json:"mountpoint"` // on the host
	Device      string   `json:"device"`
	Type        string   `json:"type"`
	Limit       uint64   `json:"limit"`
	Used        uint64   `json:"used"`
	Free        uint64   `json:"free"`
	Utilization *float64 `json:"utilization,omitempty"`
}

// Disk is one whole block device.
type Disk struct {
	Device              string   `json:"device"`
	ReadBytes           uint64   `json:"readBytes"` // since boot
	WriteBytes          uint64   `json:"writeBytes"`
	ReadBytesPerSecond  *float64 `json:"readBytesPerSecond,omitempty"`
	WriteBytesPerSecond *float64 `json:"writeBytesPerSecond,omitempty"`
	ReadOpsPerSecond    *float64 `json:"readOpsPerSecond,omitempty"`
	WriteOpsPerSecond   *float64 `json:"writeOpsPerSecond,omitempty"`
	IOTimeRatio         *float64 `json:"ioTimeRatio,omitempty"` // share of the time with a request in flight
}

// Network is one interface; counters since it came up.
type Network struct {
	Interface              string   `json:"interface"`
	ReceiveBytes           uint64   `json:"receiveBytes"`
	TransmitBytes          uint64   `json:"transmitBytes"`
	ReceiveBytesPerSecond  *float64 `json:"receiveBytesPerSecond,omitempty"`
	TransmitBytesPerSecond *float64 `json:"transmitBytesPerSecond,omitempty"`
	ReceivePackets         uint64   `json:"receivePackets"`
	TransmitPackets        uint64   `json:"transmitPackets"`
	ReceiveErrors          uint64   `json:"receiveErrors"`
	TransmitErrors         uint64   `json:"transmitErrors"`
	ReceiveDropped         uint64   `json:"receiveDropped"`
	TransmitDropped        uint64   `json:"transmitDropped"`
}

// Temperature is one sensor, with the thresholds that its chip knows.
type Temperature struct {
	Sensor   string   `json:"sensor"` // chip and label: coretemp_core_0
	Celsius  float64  `json:"celsius"`
	High     *float64 `json:"high,omitempty"`
	Critical *float64 `json:"critical,omitempty"`
}

// Pressure is Linux's PSI: the share of the last ten seconds in which some, or
// all, of the tasks that wanted to run were stalled for want of a resource.
type Pressure struct {
	CPU    *Stall `json:"cpu,omitempty"` // some alone: the kernel defines no full for a whole system's CPU
	Memory *Stall `json:"memory,omitempty"`
	IO     *Stall `json:"io,omitempty"`
}

// Stall is the pressure on one resource.
type Stall struct {
	Some10 *float64 `json:"some10,omitempty"`
	Full10 *float64 `json:"full10,omitempty"`
}

// Processes counts all, and names those that used most CPU time.
type Processes struct {
	Count int       `json:"count"`
	Top   []Process `json:"top,omitzero"`
}

// Process never carries arguments or environment: those hold secrets.
type Process struct {
	PID         int     `json:"pid"`
	Name        string  `json:"name"` // as the kernel has it: at most 15 bytes
	CPUCores    float64 `json:"cpuCores"`
	MemoryBytes uint64  `json:"memoryBytes"` // resident
}

// Description is the payload of host.<host>.
type Description struct {
	ID               string              `json:"id,omitempty"` // stable over boots and renames
	Name             string              `json:"name"`
	OS               string              `json:"os"`                 // linux
	Platform         string              `json:"platform,omitempty"` // debian
	PlatformVersion  string              `json:"platformVersion,omitempty"`
	Kernel           string              `json:"kernel,omitempty"`
	Arch             string              `json:"arch,omitempty"` // of the kernel, in Go's words: amd64, arm64
	CPUModel         string              `json:"cpuModel,omitempty"`
	PhysicalCores    int                 `json:"physicalCores,omitempty"`
	BootTime         int64               `json:"bootTime,omitempty"` // Unix milliseconds
	PublisherVersion string              `json:"publisherVersion,omitempty"`
	Runtimes         []publisher.Runtime `json:"runtimes,omitzero"`
	Actions          []string            `json:"actions,omitzero"`
}
