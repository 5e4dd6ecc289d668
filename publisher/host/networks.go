package host

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/net"
)

// plumbing are interfaces that carry between containers and the host what the
// host's own interfaces carry too, or that the kernel makes for itself.
var plumbing = []string{
	"veth",                                           // a container's end
	"docker", "br-", "podman", "cni", "nodelocaldns", // bridges and the like of container engines
	"cali", "cilium", "flannel", "lxc", "kube-", "weave", "vxlan.", // Kubernetes networks
	"virbr", "vnet", "tap", // virtual machines
	"dummy", "ifb", "tunl0", "sit0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "ip6tnl0", "ip6gre0", // templates of the kernel
}

// networkReader tells from the interfaces' counters their rates.
type networkReader struct {
	paths  paths
	before map[string]counters
}

func (r *networkReader) read(ctx context.Context) ([]Network, error) {
	stats, err := r.counters(ctx)
	if err != nil {
		return nil, err
	}
	return r.networks(stats, time.Now()), nil
}

// counters reads process 1's view: /proc/net is the reader's own network
// namespace, whatever /proc it is looked up in.
func (r *networkReader) counters(ctx context.Context) ([]net.IOCountersStat, error) {
	stats, err := net.IOCountersByFileWithContext(ctx, true, r.paths.inProc("1/net/dev"))
	if errors.Is(err, fs.ErrNotExist) && r.paths.proc == "/proc" {
		// Process 1 is hidden (hidepid), but /proc is our own.
		return net.IOCountersByFileWithContext(ctx, true, "/proc/net/dev")
	}
	return stats, err
}

func (r *networkReader) networks(stats []net.IOCountersStat, at time.Time) []Network {
	seen := make(map[string]counters, len(stats))
	networks := []Network{}
	for _, s := range stats {
		if !ownInterface(s.Name) {
			continue
		}
		now := counters{at, []uint64{s.BytesRecv, s.BytesSent, s.PacketsRecv, s.PacketsSent}}
		n := Network{
			Interface:    s.Name,
			ReceiveBytes: s.BytesRecv, TransmitBytes: s.BytesSent,
			ReceivePackets: s.PacketsRecv, TransmitPackets: s.PacketsSent,
			ReceiveErrors: s.Errin, TransmitErrors: s.Errout,
			ReceiveDropped: s.Dropin, TransmitDropped: s.Dropout,
		}
		if rates := now.perSecond(r.before[s.Name]); rates != nil {
			n.ReceiveBytesPerSecond, n.TransmitBytesPerSecond = rate(rates[0]), rate(rates[1])
		}
		seen[s.Name] = now
		networks = append(networks, n)
	}
	r.before = seen
	slices.SortFunc(networks, func(a, b Network) int { return strings.Compare(a.Interface, b.Interface) })
	return networks
}

func ownInterface(name string) bool {
	return name != "lo" && !slices.ContainsFunc(plumbing, func(p string) bool { return strings.HasPrefix(name, p) })
}
