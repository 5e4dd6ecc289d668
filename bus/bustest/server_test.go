package bustest_test

import (
	"testing"

	"go.uber.org/goleak"

	"tidings/bus"
	"tidings/bus/bustest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRestart_WaitsForLines(t *testing.T) {
	s := bustest.New(t)
	c := s.Connect(t)
	before := c.State().Since
	s.Restart(c)
	if c.Ready() != nil || c.State().Since.Equal(before) {
		t.Errorf("it is %+v, and was up since %v: %v", c.State(), before, c.Ready())
	}
}

func TestRestart_KeepsPortAndData(t *testing.T) {
	s := bustest.New(t)
	url, monitor := s.URL(), s.MonitorURL()
	c := s.Connect(t)
	if _, err := c.Publish(t.Context(), "alerts.a", []byte(`1`), bus.PublishOptions{}); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	s.Stop()
	if s.URL() != url || s.MonitorURL() != monitor {
		t.Error("the addresses change while it is stopped")
	}
	s.Restart()
	c = s.Connect(t, func(cfg *bus.Config) { cfg.Name = "another" })
	last, err := c.Last(t.Context(), ">")
	if err != nil || len(last.Messages) != 1 || last.Messages[0].Seq != 1 {
		t.Errorf("got %+v, %v", last, err)
	}
	if s.URL() != url || s.MonitorURL() != monitor {
		t.Error("the addresses have changed")
	}
}
