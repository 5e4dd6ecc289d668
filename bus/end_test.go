package bus

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A leader that was cut off from the others says where the stream ended then: that counts for nothing.
func TestLeads_OnlyWhoHasHeardOfMostReplicas(t *testing.T) {
	fresh := &jetstream.PeerInfo{Active: time.Second}
	silent := &jetstream.PeerInfo{Active: leaderFresh}
	offline := &jetstream.PeerInfo{Offline: true}
	for name, c := range map[string]struct {
		replicas int
		peers    []*jetstream.PeerInfo
		want     bool
	}{
		"one replica":         {1, nil, true},
		"three, all there":    {3, []*jetstream.PeerInfo{fresh, fresh}, true},
		"three, one is away":  {3, []*jetstream.PeerInfo{fresh, offline}, true},
		"three, two silent":   {3, []*jetstream.PeerInfo{silent, silent}, false},
		"three, two are away": {3, []*jetstream.PeerInfo{silent, offline}, false},
		"three, none known":   {3, nil, false},
		"five, two are away":  {5, []*jetstream.PeerInfo{fresh, fresh, silent, offline}, true},
		"five, three silent":  {5, []*jetstream.PeerInfo{fresh, silent, silent, silent}, false},
	} {
		info := &jetstream.StreamInfo{Config: jetstream.StreamConfig{Replicas: c.replicas}, Cluster: &jetstream.ClusterInfo{Replicas: c.peers}}
		if got := leads(info); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if !leads(&jetstream.StreamInfo{Config: jetstream.StreamConfig{Replicas: 1}}) {
		t.Error("a server on its own is not sure")
	}
}
