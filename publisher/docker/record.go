package docker

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/container"
)

// Container is a container's record. Fields that are unknown, or that do not
// apply, are absent. Points in time are Unix milliseconds.
type Container struct {
	ID      string `json:"id"` // 64 hex digits
	Name    string `json:"name"`
	Image   string `json:"image"` // as it was asked for
	ImageID string `json:"imageId,omitempty"`
	Course
	Status       string            `json:"status"` // Course in the words of docker ps
	CreatedAt    int64             `json:"createdAt,omitempty"`
	RestartCount int               `json:"restartCount"`
	Ports        []Port            `json:"ports,omitempty"`
	Project      string            `json:"project,omitempty"`
	Service      string            `json:"service,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"` // those on the allow list
	Networks     []string          `json:"networks,omitempty"`
	CPULimit     float64           `json:"cpuLimit,omitempty"`    // processors
	MemoryLimit  int64             `json:"memoryLimit,omitempty"` // bytes
	Runtime      string            `json:"runtime"`
	Pod          string            `json:"pod,omitempty"`
	Namespace    string            `json:"namespace,omitempty"`
	Protected    bool              `json:"protected"` // no action is done on it
}

// Course is what events change: how far a container has come.
type Course struct {
	State      string `json:"state"`
	Health     string `json:"health"`
	StartedAt  int64  `json:"startedAt,omitempty"`
	FinishedAt int64  `json:"finishedAt,omitempty"` // of the run before, while it runs
	ExitCode   *int   `json:"exitCode,omitempty"`   // absent while it runs, and before
}

// The values of Course.State and Course.Health: closed lists.
const (
	stateCreated    = "created"
	stateRunning    = "running"
	statePaused     = "paused"
	stateRestarting = "restarting"
	stateRemoving   = "removing"
	stateExited     = "exited"
	stateDead       = "dead"

	healthNone      = "none"
	healthStarting  = "starting"
	healthHealthy   = "healthy"
	healthUnhealthy = "unhealthy"
)

// Port is a port of a container, published on the host if it has a PublicPort.
type Port struct {
	IP          string `json:"ip,omitempty"` // on the host
	PrivatePort uint16 `json:"privatePort"`
	PublicPort  uint16 `json:"publicPort,omitempty"`
	Protocol    string `json:"protocol"`
}

// up says whether there are processes: a paused container has them still.
func (c Course) up() bool { return c.State == stateRunning || c.State == statePaused }

// recordReader turns what an engine says of a container into its record.
type recordReader struct {
	labels allowList
	self   string // id of the container that this process runs in; empty if in none
}

// inspected is the record from an engine's full answer.
func (r recordReader) inspected(runtime string, in container.InspectResponse) Container {
	c := Container{
		ID: in.ID, Name: trimName(in.Name), ImageID: in.Image, Runtime: runtime,
		RestartCount: in.RestartCount,
		CreatedAt:    milliseconds(in.Created),
		Course:       Course{State: stateCreated, Health: healthNone},
	}
	if in.State != nil {
		c.Course = parseCourse(*in.State)
	}
	var labels map[string]string
	if in.Config != nil {
		c.Image, labels = in.Config.Image, in.Config.Labels
	}
	r.label(&c, labels)
	if in.HostConfig != nil {
		c.CPULimit = cpuLimit(in.HostConfig.Resources)
		c.MemoryLimit = in.HostConfig.Memory
	}
	if in.NetworkSettings != nil {
		c.Networks, c.Ports = parseNetworks(*in.NetworkSettings)
	}
	return c
}

// listed is the record from an engine's brief answer, for a container that it
// won't say more of right now: no times, limits and exit code.
func (r recordReader) listed(runtime string, in container.Summary) Container {
	c := Container{
		ID: in.ID, Image: in.Image, ImageID: in.ImageID, Runtime: runtime,
		CreatedAt: in.Created * 1000,
		Course:    Course{State: parseState(string(in.State)), Health: healthNone},
	}
	if len(in.Names) > 0 {
		c.Name = trimName(in.Names[0])
	}
	if in.Health != nil {
		c.Health = parseHealth(string(in.Health.Status))
	}
	r.label(&c, in.Labels)
	return c
}

// label takes from the labels what the record has of them.
func (r recordReader) label(c *Container, labels map[string]string) {
	c.Project = cmp.Or(labels["com.docker.compose.project"], labels["io.podman.compose.project"], labels["com.docker.stack.namespace"])
	c.Service = cmp.Or(labels["com.docker.compose.service"], labels["io.podman.compose.service"], labels["com.docker.swarm.service.name"])
	c.Pod = labels["io.kubernetes.pod.name"]
	c.Namespace = labels["io.kubernetes.pod.namespace"]
	c.Labels = r.labels.of(labels)
	c.Protected = c.Protected || r.protects(c.ID, labels)
}

func parseCourse(s container.State) Course {
	c := Course{
		State: parseState(string(s.Status)), Health: healthNone,
		StartedAt: milliseconds(s.StartedAt), FinishedAt: milliseconds(s.FinishedAt),
	}
	if s.Health != nil {
		c.Health = parseHealth(string(s.Health.Status))
	}
	if c.FinishedAt > 0 && !c.up() {
		c.ExitCode = &s.ExitCode
	}
	return c
}

// parseState maps Podman's further states onto the closed list.
func parseState(state string) string {
	switch state {
	case stateCreated, stateRunning, statePaused, stateRestarting, stateRemoving, stateExited, stateDead:
		return state
	case "configured", "initialized":
		return stateCreated
	case "stopping":
		return stateRunning
	default: // Podman's stopped, and what no engine of today says
		return stateExited
	}
}

// parseHealth maps the empty string, which Podman says where there is no health
// check, to none.
func parseHealth(health string) string {
	switch health {
	case healthStarting, healthHealthy, healthUnhealthy:
		return health
	default:
		return healthNone
	}
}

func parseNetworks(n container.NetworkSettings) (names []string, ports []Port) {
	for name := range n.Networks {
		names = append(names, name)
	}
	slices.Sort(names)
	for port, bindings := range n.Ports {
		exposed := Port{PrivatePort: port.Num(), Protocol: string(port.Proto())}
		if len(bindings) == 0 {
			ports = append(ports, exposed)
		}
		for _, b := range bindings {
			published := exposed
			if b.HostIP.IsValid() {
				published.IP = b.HostIP.String()
			}
			if number, err := strconv.ParseUint(b.HostPort, 10, 16); err == nil {
				published.PublicPort = uint16(number)
			}
			ports = append(ports, published)
		}
	}
	slices.SortFunc(ports, func(a, b Port) int {
		return cmp.Or(cmp.Compare(a.PrivatePort, b.PrivatePort), cmp.Compare(a.Protocol, b.Protocol),
			cmp.Compare(a.IP, b.IP), cmp.Compare(a.PublicPort, b.PublicPort))
	})
	return names, ports
}

// cpuLimit is in processors; 0 is no limit.
func cpuLimit(r container.Resources) float64 {
	switch {
	case r.NanoCPUs > 0:
		return float64(r.NanoCPUs) / 1e9
	case r.CPUQuota > 0:
		// The kernel's period is 100 ms unless said otherwise.
		return float64(r.CPUQuota) / float64(cmp.Or(max(r.CPUPeriod, 0), 100_000))
	}
	return 0
}

// milliseconds is an engine's point in time in Unix milliseconds. Engines say
// never as the year 1; that, and what is no time, is 0 here.
func milliseconds(text string) int64 {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0
	}
	return max(t.UnixMilli(), 0)
}

// trimName takes the slash off that Docker has before each name.
func trimName(name string) string {
	if len(name) > 1 && name[0] == '/' {
		return name[1:]
	}
	return name
}
