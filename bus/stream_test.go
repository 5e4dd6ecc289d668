package bus_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tidings/bus"
	"tidings/bus/bustest"
)

func TestStream_DeletedIsMadeAnewAndSaid(t *testing.T) {
	server := bustest.New(t)
	states := make(chan bus.State, 16)
	c := server.Connect(t, func(cfg *bus.Config) { cfg.OnState = func(s bus.State) { states <- s } })
	publish(t, c, "alerts.a", 1)
	before := c.State()
	if err := operator(t, server).DeleteStream(t.Context(), "TIDINGS"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a new epoch", func() bool {
		e := c.State().Epoch
		return e != "" && e != before.Epoch
	})
	var epochs []string
	for _, s := range toldUntil(states, c.State()) {
		if s.Connected && !slices.Contains(epochs, s.Epoch) {
			epochs = append(epochs, s.Epoch)
		}
	}
	if want := []string{"", before.Epoch, c.State().Epoch}; !slices.Equal(epochs, want) {
		t.Errorf("told the epochs %q, want %q", epochs, want)
	}
	if seq := publish(t, c, "alerts.a", 2); seq != 1 {
		t.Errorf("the new stream starts at %d", seq)
	}
	s, err := c.Last(t.Context(), ">")
	if err != nil || s.Position != (bus.Position{Epoch: c.State().Epoch, Seq: 1}) {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestStream_DeletedByTheOperatorStaysDeleted(t *testing.T) {
	server := bustest.New(t)
	server.Connect(t).Close()
	c := server.Connect(t, func(cfg *bus.Config) { cfg.Stream.Manage = bus.ManageOperator })
	if err := operator(t, server).DeleteStream(t.Context(), "TIDINGS"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is noticed", func() bool { return errors.Is(c.Ready(), bus.ErrNoStream) })
	if _, err := c.Last(t.Context(), ">"); !errors.Is(err, bus.ErrNoStream) {
		t.Errorf("last: %v", err)
	}
	if _, err := c.Publish(t.Context(), "alerts.a", payload(1), bus.PublishOptions{}); !errors.Is(err, bus.ErrNoStream) {
		t.Errorf("publish: %v", err)
	}
	if !strings.Contains(c.Ready().Error(), "operator's to create") {
		t.Errorf("ready: %v", c.Ready())
	}
}

func TestStream_TwoCreateItAtTheSameTime(t *testing.T) {
	for _, same := range []bool{true, false} {
		server := bustest.New(t)
		var conns []*bus.Conn
		for i := range 6 {
			cfg := server.Config()
			if !same {
				cfg.Stream.MaxAge = time.Duration(i+1) * time.Hour
			}
			c, err := bus.Connect(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			conns = append(conns, c)
		}
		for _, c := range conns {
			if err := c.WaitReady(within(t)); err != nil {
				t.Fatal(err)
			}
			if c.State().Epoch != conns[0].State().Epoch {
				t.Error("they have different epochs")
			}
		}
	}
}

func TestStream_IsBroughtUpToDateAndKeepsWhatItHolds(t *testing.T) {
	server := bustest.New(t)
	js := operator(t, server)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "TIDINGS", Subjects: []string{"tidings.pub.>", "legacy.>"}, MaxMsgsPerSubject: 3, Compression: jetstream.S2Compression,
		Metadata: map[string]string{"owner": "ops"},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "tidings.pub.alerts.a", payload(1)); err != nil {
		t.Fatal(err)
	}
	c := server.Connect(t)
	stream, err := js.Stream(t.Context(), "TIDINGS")
	if err != nil {
		t.Fatal(err)
	}
	got := stream.CachedInfo().Config
	if got.MaxMsgsPerSubject != 1024 || got.MaxAge != 24*time.Hour || got.MaxBytes != 1<<30 || !got.AllowDirect || !got.AllowMsgTTL ||
		got.RePublish == nil || got.RePublish.Source != "tidings.pub.>" || got.RePublish.Destination != "tidings.live.>" ||
		got.SubjectDeleteMarkerTTL != time.Second {
		t.Errorf("it is not up to date: %+v", got)
	}
	if got.Compression != jetstream.S2Compression || got.Metadata["owner"] != "ops" || !slices.Contains(got.Subjects, "legacy.>") {
		t.Errorf("what is the operator's has changed: %+v", got)
	}
	if numbers := retainedNumbers(t, c, "alerts.a"); !slices.Equal(numbers, []int{1}) {
		t.Errorf("it holds %v", numbers)
	}
}

func TestStream_WhatCannotBeChangedIsSaid(t *testing.T) {
	server := bustest.New(t)
	server.Connect(t).Close()
	cfg := server.Config()
	cfg.Stream.Storage = "memory"
	c, err := bus.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.EnsureStream(within(t))
	for _, says := range []string{"stream TIDINGS", "storage: is File, should be Memory", "can not change storage type"} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v does not say %q", err, says)
		}
	}
	if ready := c.Ready(); ready == nil || !strings.Contains(ready.Error(), "storage") {
		t.Errorf("ready: %v", ready)
	}
}

func TestStream_OperatorsIsOnlyChecked(t *testing.T) {
	server := bustest.New(t)
	js := operator(t, server)
	cfg := server.Config()
	cfg.Stream.Manage = bus.ManageOperator
	c, err := bus.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.EnsureStream(within(t)); !errors.Is(err, bus.ErrNoStream) {
		t.Errorf("without a stream: %v", err)
	}
	stream := jetstream.StreamConfig{Name: "TIDINGS", Subjects: []string{"tidings.pub.>"}, MaxAge: time.Hour}
	if _, err := js.CreateStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	err = c.EnsureStream(within(t))
	for _, says := range []string{"republish is off", "allow_direct is false", "allow_msg_ttl is false"} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v does not say %q", err, says)
		}
	}
	stream.RePublish = &jetstream.RePublish{Source: "tidings.pub.>", Destination: "tidings.live.>"}
	stream.AllowDirect, stream.AllowMsgTTL = true, true
	if _, err := js.UpdateStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitReady(within(t)); err != nil {
		t.Fatal(err)
	}
	info, err := js.Stream(t.Context(), "TIDINGS")
	if err != nil || info.CachedInfo().Config.MaxAge != time.Hour || info.CachedInfo().Config.MaxBytes != -1 {
		t.Errorf("it was changed: %+v, %v", info.CachedInfo().Config, err)
	}
	publish(t, c, "host.a", 1)
}
