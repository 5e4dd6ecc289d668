//go:build linux

package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"tidings/edge/client"
	"tidings/edge/wire"
)

// orders is the first line that a crowd reads.
type orders struct {
	URL     string
	Journal string // the file for its events
	Clients []Client
}

// farewell is the second one: the places of the last messages of all topics. A crowd ends when every client has them, or
// when it has waited for long enough.
type farewell struct {
	Last map[string]uint64
	Wait time.Duration
}

// ready is what a crowd writes when every client has subscribed.
const ready = "every client has subscribed"

// gather is this process as a crowd of clients.
func gather(in io.Reader, out io.Writer) int {
	if err := crowd(bufio.NewReader(in), out); err != nil {
		fmt.Fprintln(os.Stderr, "crowd:", err)
		return 1
	}
	return 0
}

func crowd(in *bufio.Reader, out io.Writer) (err error) {
	var o orders
	if err := readLine(in, &o); err != nil {
		return err
	}
	file, err := os.Create(o.Journal)
	if err != nil {
		return err
	}
	journal := NewJournal(file)
	ctx, cancel := context.WithCancel(context.Background())
	var running, subscribed sync.WaitGroup
	defer func() {
		cancel()
		running.Wait()
		if closed := journal.Close(); err == nil {
			err = closed
		}
		if closed := file.Close(); err == nil {
			err = closed
		}
	}()
	for _, c := range o.Clients {
		subscribed.Add(len(c.Patterns))
		run := runLibrary
		if c.Kind == Witness {
			run = runWitness
		}
		running.Go(func() { run(ctx, o.URL, c, journal, subscribed.Done) })
	}
	subscribed.Wait()
	fmt.Fprintln(out, ready)
	var f farewell
	if err := readLine(in, &f); err != nil {
		return err
	}
	for deadline := time.Now().Add(f.Wait); journal.Behind(o.Clients, f.Last) > 0 && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

// readLine reads one line of JSON.
func readLine(in *bufio.Reader, value any) error {
	text, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(text, value)
}

// number is what is in the payloads of the counting publishers.
type number struct{ N int }

// runLibrary is one client by edge/client. It calls subscribed for the first ack of each pattern.
func runLibrary(ctx context.Context, url string, c Client, journal *Journal, subscribed func()) {
	add := func(e Event) {
		e.Client = c.Name
		journal.Add(e)
	}
	acked := map[string]bool{}
	lib, err := client.New(client.Config{
		URL:         url,
		DialTimeout: 3 * time.Second,
		BackoffBase: 100 * time.Millisecond,
		BackoffCap:  2 * time.Second,
		Handler: client.Handler{
			Message: func(m client.Message) {
				var payload number
				_ = json.Unmarshal(m.Payload, &payload) // of other publishers' messages there is none
				add(Event{What: Message, Topic: m.Topic, Seq: m.Seq, Prev: m.Prev, N: payload.N, Gone: m.Gone})
			},
			Gap: func(g client.Gap) {
				add(Event{What: Gap, Topic: g.Topic, After: g.After, Before: g.Before, Text: string(g.Reason)})
			},
			Subscribed: func(s client.Subscribed) {
				add(Event{What: Subscribed, Pattern: s.Pattern, Seq: s.Position.Seq, Resumed: s.Resumed, Recovered: s.Recovered})
				if !acked[s.Pattern] {
					acked[s.Pattern] = true
					subscribed()
				}
			},
			Refused: func(pattern string, err *wire.Error) {
				add(Event{What: Refused, Pattern: pattern, Text: err.Error()})
			},
			Connected:    func(p wire.ConnectedPayload) { add(Event{What: Connected, Text: p.Node}) },
			Disconnected: func(err error, _ time.Duration) { add(Event{What: Disconnected, Text: err.Error()}) },
		},
	})
	if err != nil {
		add(Event{What: Refused, Text: err.Error()})
		return
	}
	for _, p := range c.Patterns {
		if err := lib.Subscribe(p, client.Options{}); err != nil {
			add(Event{What: Refused, Pattern: p, Text: err.Error()})
		}
	}
	if err := lib.Run(ctx); err != nil {
		add(Event{What: Refused, Text: err.Error()})
	}
}
