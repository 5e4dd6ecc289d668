//go:build linux

package chaos

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// network is a bridge with nodes on it, in the stage's namespace. The stage itself is on it as gateway.
type network struct {
	t     testing.TB
	nodes []*node
}

// node is a network namespace with one address: a machine, as far as NATS, edges and clients can tell.
type node struct {
	t       testing.TB
	name    string
	address string
}

const (
	bridge  = "chaos"
	gateway = "10.77.0.1" // the stage's address
)

func newNetwork(t testing.TB) *network {
	t.Helper()
	n := &network{t: t}
	t.Cleanup(n.remove)
	n.must("link add %s type bridge", bridge)
	n.must("addr add %s/24 dev %s", gateway, bridge)
	n.must("link set %s up", bridge)
	return n
}

func (n *network) remove() {
	for _, node := range n.nodes {
		n.must("link del %s", node.port()) // or it goes some time after the namespace does
		n.must("netns del %s", node.name)
	}
	n.must("link del %s", bridge)
}

// add makes a node whose address ends in last.
func (n *network) add(name string, last int) *node {
	n.t.Helper()
	m := &node{t: n.t, name: name, address: fmt.Sprintf("10.77.0.%d", last)}
	n.must("netns add %s", name)
	n.nodes = append(n.nodes, m)
	n.must("link add %s type veth peer name eth0 netns %s", m.port(), name)
	n.must("link set %s master %s up", m.port(), bridge)
	n.must("-n %s addr add %s/24 dev eth0", name, m.address)
	n.must("-n %s link set eth0 up", name)
	n.must("-n %s link set lo up", name)
	return m
}

// port is the bridge's end of a node's cable.
func (m *node) port() string { return "to-" + m.name }

// unplug pulls the cable: packets are lost both ways, and nobody is told.
func (m *node) unplug() {
	m.t.Helper()
	if err := ip("link set " + m.port() + " nomaster"); err != nil {
		m.t.Fatal(err)
	}
}

func (m *node) plug() {
	m.t.Helper()
	if err := ip("link set " + m.port() + " master " + bridge); err != nil {
		m.t.Fatal(err)
	}
}

// sever drops packets between two nodes, both ways, and tells neither.
func (m *node) sever(other *node) (mend func()) {
	m.t.Helper()
	return m.drop("INPUT -s "+other.address, "OUTPUT -d "+other.address)
}

// vanish drops all packets of a node, both ways.
func (m *node) vanish() (mend func()) {
	m.t.Helper()
	return m.drop("INPUT", "OUTPUT")
}

// lose drops one in twenty of the packets that come to a node.
func (m *node) lose() (mend func()) {
	m.t.Helper()
	return m.drop("INPUT -m statistic --mode random --probability 0.05")
}

func (m *node) drop(rules ...string) (mend func()) {
	m.t.Helper()
	for _, rule := range rules {
		m.do("iptables -w -A " + rule + " -j DROP")
	}
	return func() {
		m.t.Helper()
		for _, rule := range rules {
			m.do("iptables -w -D " + rule + " -j DROP")
		}
	}
}

// do runs a command in the node, and waits for its end.
func (m *node) do(command string) {
	m.t.Helper()
	if err := ip("netns exec " + m.name + " " + command); err != nil {
		m.t.Fatal(err)
	}
}

// narrow makes the cable towards the node one that carries so many bits a second, with a queue before it of so many bytes: what does
// not fit in there is lost.
func (m *node) narrow(rate, queue int) {
	m.t.Helper()
	if said, err := exec.Command("tc", strings.Fields(fmt.Sprintf("qdisc add dev %s root tbf rate %dbit burst 1600 limit %d", m.port(), rate, queue))...).CombinedOutput(); err != nil {
		m.t.Fatalf("tc: %v: %s", err, said)
	}
}

// dial connects from the node to an address.
func (m *node) dial(ctx context.Context, kind, address string) (net.Conn, error) {
	runtime.LockOSThread() // which is in the node as long as this takes; it ends with the goroutine where it cannot come back
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer here.Close()
	there, err := os.Open("/run/netns/" + m.name)
	if err != nil {
		return nil, err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, os.NewSyscallError("setns", err)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, kind, address)
	if back := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); back != nil {
		return nil, os.NewSyscallError("setns", back)
	}
	runtime.UnlockOSThread()
	return conn, err
}

func (n *network) must(command string, values ...any) {
	n.t.Helper()
	if err := ip(fmt.Sprintf(command, values...)); err != nil {
		n.t.Fatal(err)
	}
}

// ip runs an ip command of words.
func ip(command string) error {
	if said, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", command, err, said)
	}
	return nil
}
