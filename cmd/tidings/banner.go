package main

import (
	"fmt"
	"net"
	"strings"
)

// banner tells who has started it where to look and what to try.
type banner struct {
	program string   // as it was called
	edge    net.Addr // of the WebSockets and the page
	secure  bool     // it speaks TLS
	admin   net.Addr // nil: closed
	nats    string   // URL; empty: this process alone
	data    string   // directory
}

func (b banner) String() string {
	var out strings.Builder
	line := func(word, what string) { fmt.Fprintf(&out, "  %-10s %s\n", word, what) }
	host := reachable(b.edge)

	fmt.Fprintf(&out, "\nTidings is running.\n\n")
	line("open", "http"+b.s()+"://"+host+"/")
	line("watch", b.program+" sub"+b.url(host)+" 'metrics.>' 'container-events.>'")
	if b.nats != "" {
		publish := b.program + " pub"
		if b.nats != "nats://"+usualNATS {
			publish += " --nats " + b.nats
		}
		line("publish", publish+` demo.hello '{"text":"hi"}'`)
		line("nats", b.nats)
	}
	if b.admin != nil {
		line("operate", "http://"+reachable(b.admin)+"/readyz and /metrics")
	}
	line("data", b.data)
	line("stop", "ctrl-C")
	fmt.Fprintln(&out)
	return out.String()
}

// s makes a scheme that of TLS.
func (b banner) s() string {
	if b.secure {
		return "s"
	}
	return ""
}

// url is the flag that `tidings sub` needs to find an edge that is not in the usual place.
func (b banner) url(host string) string {
	if address := "ws" + b.s() + "://" + host + "/ws"; address != defaultURL {
		return " --url " + address
	}
	return ""
}

// reachable is an address of this machine for one that listens on all.
func reachable(address net.Addr) string {
	tcp, ok := address.(*net.TCPAddr)
	if ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("127.0.0.1:%d", tcp.Port)
	}
	return address.String()
}
