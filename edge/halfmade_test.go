package edge_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/edge"
	"tidings/edge/poll"
)

const (
	halfMadeOrder   = "TIDINGS_TEST_HALF_MADE" // in the environment of an attacker: what it is to do
	halfMadeWithin  = 6 * time.Second          // attackers stop then: all that they hold is to be open at once, also on a slow machine
	halfMadeTimeout = 10 * time.Second         // of the edge
)

// TestAttack_HalfMadeConnections holds ten thousand handshakes open that never end, and connects beside them. The attackers are
// processes of their own, for descriptors are few, and what is measured here is then the edge's alone. Each has an address of its own,
// for ports are few too.
func TestAttack_HalfMadeConnections(t *testing.T) {
	const attackers = 4
	many := 10_000
	if have := poll.Descriptors(); have > 0 && have < many+1000 {
		many = have - 1000
	}
	n := newCluster(t).edge(func(cfg *edge.Config) { cfg.HandshakeTimeout = halfMadeTimeout })
	connect := func() time.Duration {
		began := time.Now()
		n.peer(0).conn.Close()
		return time.Since(began)
	}
	alone := connect()
	before := heap()
	began := time.Now()
	said := make(chan string, 2*attackers)
	for i := range attackers {
		source := "127.0.0.1"
		if runtime.GOOS == "linux" { // where all of 127.0.0.0/8 is the machine itself
			source = fmt.Sprintf("127.0.1.%d", i+1)
		}
		attack(t, fmt.Sprintf("%s %s %d", n.host, source, many/attackers), said)
	}
	// hear waits for a word of each attacker, and connects all the while.
	hear := func(word string) (sum int, latencies []time.Duration) {
		t.Helper()
		pause := time.NewTicker(50 * time.Millisecond)
		defer pause.Stop()
		for left := attackers; left > 0; {
			select {
			case line := <-said:
				var got int
				if _, err := fmt.Sscanf(line, word+" %d", &got); err != nil {
					t.Fatalf("an attacker said %q instead of %q", line, word)
				}
				sum, left = sum+got, left-1
			case <-pause.C:
				latencies = append(latencies, connect())
			}
		}
		return sum, latencies
	}
	held, coming := hear("held")
	took := time.Since(began)
	cost := (int(heap()) - int(before)) / held
	refused, beside := hear("refused")
	t.Logf("%d half-made connections within %v cost the edge %d bytes each; another client connects in %v, while they come in %v (at worst %v), "+
		"beside them in %v (at worst %v); all closed after %v", held, took, cost, alone, median(coming), slices.Max(coming), median(beside), slices.Max(beside),
		time.Since(began))
	if held < many/4 {
		t.Errorf("the attackers opened no more than %d", held)
	}
	if refused != held {
		t.Errorf("%d of %d were told that they took too long", refused, held)
	}
	n.expectStruck("handshake_timeout", float64(held))
	if worst := median(beside); worst > time.Second {
		t.Errorf("half of the other clients waited for %v and more", worst)
	}
	if cost > 4<<10 {
		t.Errorf("each costs %d bytes", cost)
	}
}

func median(list []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(list))[len(list)/2]
}

// attack starts a process that does what the order says. What it says comes line by line.
func attack(t *testing.T, order string, said chan<- string) {
	t.Helper()
	var complaint bytes.Buffer
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	attacker := exec.Command(program)
	attacker.Env = append(os.Environ(), halfMadeOrder+"="+order)
	attacker.Stderr = &complaint
	out, err := attacker.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := attacker.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		words := 0
		for lines := bufio.NewScanner(out); lines.Scan(); words++ {
			said <- lines.Text()
		}
		if words < 2 {
			said <- "nothing more"
		}
	}()
	t.Cleanup(func() {
		if t.Failed() {
			_ = attacker.Process.Kill()
		}
		<-ended
		if err := attacker.Wait(); err != nil {
			t.Errorf("an attacker: %v: %s", err, complaint.String())
		}
	})
}

// halfMake is the whole of an attacker: it opens connections, says how many, and then how many of them the edge sent away. The order
// is where, from which address, and how many.
func halfMake(order string) (exit int) {
	var host, source string
	var many int
	if _, err := fmt.Sscan(order, &host, &source, &many); err != nil {
		fmt.Fprintf(os.Stderr, "order %q: %v", order, err)
		return 2
	}
	stop := time.Now().Add(halfMadeWithin)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	var held []net.Conn
	for len(held) < many && time.Now().Before(stop) {
		conn, err := dialer.Dial("tcp", host)
		if err != nil {
			fmt.Fprintf(os.Stderr, "connection %d: %v", len(held), err)
			return 1
		}
		defer conn.Close()
		_ = conn.SetDeadline(stop.Add(3 * halfMadeTimeout))
		if _, err := io.WriteString(conn, handshake[:len(handshake)-3-len(held)%20]); err != nil {
			fmt.Fprintf(os.Stderr, "connection %d: %v", len(held), err)
			return 1
		}
		held = append(held, conn)
	}
	fmt.Println("held", len(held))
	refused := 0
	for _, conn := range held {
		if answer, err := io.ReadAll(conn); err == nil && strings.Contains(string(answer), " 408 ") {
			refused++
		}
	}
	fmt.Println("refused", refused)
	return 0
}
