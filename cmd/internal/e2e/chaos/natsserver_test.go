//go:build linux

package chaos

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// serveNATS is this process as a nats-server, with all that its own program does.
func serveNATS(config string) int {
	options, err := server.ProcessConfigFile(config)
	if err == nil {
		var s *server.Server
		if s, err = server.NewServer(options); err == nil {
			s.ConfigureLogger()
			if err = server.Run(s); err == nil {
				s.WaitForShutdown()
				return 0
			}
		}
	}
	fmt.Fprintln(os.Stderr, "nats-server:", err)
	return 1
}

// natsServer is one of the cluster's.
type natsServer struct {
	*program
	node   *node
	config string
}

// natsConfig lets every server find the others by their addresses, and clients by theirs alone: an edge that was given a
// proxy's address must not learn of a way around it.
const natsConfig = `
server_name: %[1]s
listen: 0.0.0.0:4222
http: 0.0.0.0:8222
max_payload: 2MB
no_fast_producer_stall: true
jetstream { store_dir: "%[2]s" }
`

const natsRoutes = `
cluster {
  name: chaos
  listen: 0.0.0.0:6222
  no_advertise: true
  routes: [%s]
}
`

// newNATS prepares the servers of a cluster, or one that is by itself, without starting them.
func newNATS(t testing.TB, nodes []*node) []*natsServer {
	t.Helper()
	dir := t.TempDir()
	var routes []string
	for _, m := range nodes {
		routes = append(routes, "nats://"+m.address+":6222")
	}
	var servers []*natsServer
	for _, m := range nodes {
		s := &natsServer{node: m, config: filepath.Join(dir, m.name+".conf")}
		text := fmt.Sprintf(natsConfig, m.name, filepath.Join(dir, m.name))
		if len(nodes) > 1 {
			text += fmt.Sprintf(natsRoutes, strings.Join(routes, ", "))
		}
		if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		servers = append(servers, s)
	}
	return servers
}

func (s *natsServer) start() {
	s.node.t.Helper()
	s.program = s.node.start(s.node.name, command{path: self(s.node.t), args: []string{s.config}, env: []string{roleVariable + "=" + roleNATS}})
}

// healthy waits until a server says that it, and its copies of all streams, are up to date.
func (s *natsServer) healthy() {
	s.t.Helper()
	eventually(s.t, s.node.name+" to be healthy", func() error {
		status, body := get("http://" + s.node.address + ":8222/healthz")
		if status != 200 {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
}

func (s *natsServer) url() string { return "nats://" + s.node.address + ":4222" }

// line is a connection to the cluster that none of our code made.
func line(t testing.TB, servers []*natsServer) *nats.Conn {
	t.Helper()
	var urls []string
	for _, s := range servers {
		urls = append(urls, s.url())
	}
	conn, err := nats.Connect(strings.Join(urls, ","), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond),
		nats.ReconnectBufSize(-1), nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2), nats.Timeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

const streamName = "TIDINGS"

// leader is the server that leads the stream.
func (c *cluster) leader() *natsServer {
	c.t.Helper()
	var name string
	eventually(c.t, "the stream to have a leader, and copies that are up to date", func() error {
		info, err := c.stream()
		if err != nil {
			return err
		}
		if info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) != len(c.nats)-1 {
			return fmt.Errorf("%+v", info.Cluster)
		}
		for _, r := range info.Cluster.Replicas {
			if !r.Current || r.Offline {
				return fmt.Errorf("%s lags", r.Name)
			}
		}
		name = info.Cluster.Leader
		return nil
	})
	for _, s := range c.nats {
		if s.node.name == name {
			return s
		}
	}
	c.t.Fatalf("the stream's leader %q is none of ours", name)
	return nil
}

func (c *cluster) stream() (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	js, err := jetstream.New(c.line)
	if err != nil {
		return nil, err
	}
	stream, err := js.Stream(ctx, streamName)
	if err != nil {
		return nil, err
	}
	return stream.CachedInfo(), nil
}
