//go:build linux

package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// counted are the topics that the load publishes on, each by a publisher of its own.
var counted = []string{"orders.a", "orders.b", "alerts.x", "metrics.m1", "metrics.m2", "containers.m1"}

// beat is the time between two messages of a topic.
const beat = 50 * time.Millisecond

// load is publishers that count: {"n":1,…}, {"n":2,…}… on each topic, the next one when the last one was acknowledged.
type load struct {
	t     testing.TB
	lines []*nats.Conn // to each server one: what one cannot take, another may
	seed  uint64
	began time.Time
	stop  context.CancelFunc
	all   sync.WaitGroup
	bulk  atomic.Int64 // bytes that each message has beside its number

	mu    sync.Mutex
	next  map[string]int
	acked []Acked
	last  map[string]uint64 // place of the last message of each topic
}

func newLoad(t testing.TB, servers []*natsServer, seed uint64) *load {
	t.Helper()
	l := &load{t: t, seed: seed, next: map[string]int{}, last: map[string]uint64{}}
	for i := range servers {
		l.lines = append(l.lines, line(t, servers[i:i+1]))
	}
	return l
}

// start publishes until end.
func (l *load) start() {
	ctx, cancel := context.WithCancel(context.Background())
	l.began, l.stop = time.Now(), cancel
	l.t.Cleanup(l.end)
	for _, topic := range counted {
		l.all.Go(func() {
			beats := time.NewTicker(beat)
			defer beats.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-beats.C:
				}
				if err := l.publish(topic); err != nil {
					l.t.Error(err)
					return
				}
			}
		})
	}
}

// end returns when all that was published is acknowledged.
func (l *load) end() {
	l.stop()
	l.all.Wait()
}

// publish publishes the next number of a topic, and tries until it is acknowledged. An id makes that harmless.
func (l *load) publish(topic string) error {
	l.mu.Lock()
	l.next[topic]++
	n := l.next[topic]
	l.mu.Unlock()
	data := fmt.Appendf(nil, `{"n":%d,"bulk":"%s"}`, n, strings.Repeat(".", int(l.bulk.Load())))
	m := &nats.Msg{Subject: "tidings.pub." + topic, Data: data, Header: nats.Header{}}
	m.Header.Set(nats.MsgIdHdr, fmt.Sprintf("%d-%s-%d", l.seed, topic, n))
	var err error
	for i, deadline := n, time.Now().Add(patience); time.Now().Before(deadline); i++ {
		var seq uint64
		if seq, err = try(l.lines[i%len(l.lines)], m); err == nil {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.acked = append(l.acked, Acked{topic, n, seq, time.Now()})
			l.last[topic] = seq
			return nil
		}
		time.Sleep(20*time.Millisecond + rand.N(20*time.Millisecond))
	}
	return fmt.Errorf("publish %d on %s: %w", n, topic, err)
}

func try(conn *nats.Conn, m *nats.Msg) (uint64, error) {
	answer, err := conn.RequestMsg(m, time.Second)
	if err != nil {
		return 0, err
	}
	var ack struct {
		Seq   uint64
		Error json.RawMessage
	}
	if err := json.Unmarshal(answer.Data, &ack); err != nil {
		return 0, err
	}
	if ack.Seq == 0 {
		return 0, fmt.Errorf("not acknowledged: %s", ack.Error)
	}
	return ack.Seq, nil
}

// progress is how many messages are acknowledged.
func (l *load) progress() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// goOn waits until n more messages are acknowledged: there is life in it.
func (l *load) goOn(n int) {
	l.t.Helper()
	from := l.progress()
	eventually(l.t, fmt.Sprintf("%d more messages to be acknowledged", n), func() error {
		if got := l.progress() - from; got < n {
			return fmt.Errorf("%d so far", got)
		}
		return nil
	})
}

// goOnFor lets the load go on for a time: that of an outage.
func (l *load) goOnFor(d time.Duration) {
	l.t.Helper()
	<-time.After(d)
	l.goOn(50)
}

// stored reads back what the stream has of the counted topics.
func stored(conn *nats.Conn) (all []Stored, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	var filters []string
	for _, topic := range counted {
		filters = append(filters, "tidings.pub."+topic)
	}
	consumer, err := js.OrderedConsumer(ctx, streamName, jetstream.OrderedConsumerConfig{FilterSubjects: filters})
	if err != nil {
		return nil, err
	}
	for more := true; more; {
		batch, err := consumer.FetchNoWait(1000)
		if err != nil {
			return nil, err
		}
		more = false
		for m := range batch.Messages() {
			meta, err := m.Metadata()
			if err != nil {
				return nil, err
			}
			var n number
			if err := json.Unmarshal(m.Data(), &n); err != nil {
				return nil, err
			}
			all = append(all, Stored{Topic: m.Subject()[len("tidings.pub."):], Seq: meta.Sequence.Stream, N: n.N})
			more = meta.NumPending > 0
		}
		if err := batch.Error(); err != nil {
			return nil, err
		}
	}
	if len(all) == 0 {
		return nil, errors.New("the stream has nothing")
	}
	return all, nil
}
