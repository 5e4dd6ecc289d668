package bus_test

import (
	"testing"
	"time"

	"tidings/bus"
	"tidings/bus/bustest"
)

func TestStands_TellsWhetherAPlaceIsWhatItWas(t *testing.T) {
	server := bustest.New(t)
	c := server.Connect(t)
	publish(t, c, "orders.a", 1)
	gone := publish(t, c, "orders.b", 2)
	last := publish(t, c, "orders.a", 3)
	read, err := c.After(t.Context(), 0, 10, pattern(t, "orders.*"))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := operator(t, server).Stream(t.Context(), "TIDINGS")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	was := read.Messages[2].Mark()
	for name, want := range map[string]struct {
		mark        bus.Mark
		same, found bool
	}{
		"as it was":      {was, true, true},
		"another topic":  {bus.Mark{Seq: was.Seq, Topic: "orders.b", Time: was.Time}, false, true},
		"another time":   {bus.Mark{Seq: was.Seq, Topic: was.Topic, Time: was.Time.Add(time.Nanosecond)}, false, true},
		"deleted":        {read.Messages[1].Mark(), false, false},
		"beyond the end": {bus.Mark{Seq: last + 1, Topic: was.Topic, Time: was.Time}, false, false},
	} {
		if same, found, err := c.Stands(t.Context(), want.mark); same != want.same || found != want.found || err != nil {
			t.Errorf("%s: same %v, found %v, error %v", name, same, found, err)
		}
	}
	server.Stop()
	if _, _, err := c.Stands(t.Context(), was); err == nil {
		t.Error("it was told by nobody")
	}
}
