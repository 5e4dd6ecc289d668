package edge

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"tidings/bus"
	"tidings/edge/auth"
	"tidings/edge/wire"
)

// handler answers what is not an upgrade: the protocol's two HTTP requests, and the operator's pages.
func (e *Edge) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(socketPath, func(w http.ResponseWriter, _ *http.Request) {
		e.metrics.handshakes[handshakeBad].Inc()
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		refuseHTTP(w, wire.UpgradeRequired, "this is a WebSocket; connect to it as one")
	})
	mux.HandleFunc("GET /last", e.last)
	mux.HandleFunc("GET /events", e.events)
	mux.HandleFunc("/last", readOnly)
	mux.HandleFunc("/events", readOnly)
	mux.Handle("/", e.cfg.Pages)
	return e.limited(mux)
}

// readOnly refuses what is no GET.
func readOnly(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Allow", "GET, HEAD")
	refuseAs(w, http.StatusMethodNotAllowed, wire.BadRequest, "this is to be read: ask for it with GET; messages are published by NATS")
}

// limited asks the door about each request. Over a connection that is kept alive there is otherwise no end to them.
func (e *Edge) limited(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client, _ := e.proxies.sender(r)
		if refused := e.door.ask(client, time.Now()); refused != nil {
			w.Header().Set("Connection", "close")
			refused.to(w)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// asked reads who asks for which topics, and whether they may; false: the request has been refused.
func (e *Edge) asked(w http.ResponseWriter, r *http.Request) (*auth.Session, []bus.Pattern, bool) {
	_, host := e.proxies.sender(r)
	if host == r.Host && e.rebound(host) {
		refuseHTTP(w, wire.ForbiddenOrigin, reboundAdvice)
		return nil, nil, false
	}
	if !e.origins.allow(r.Header.Get("Origin"), host) {
		refuseHTTP(w, wire.ForbiddenOrigin, originAdvice)
		return nil, nil, false
	}
	who, err := e.who(r, host)
	if err != nil {
		e.cfg.tokenRefusal(err).to(w)
		return nil, nil, false
	}
	names := r.URL.Query()["topic"]
	if len(names) == 0 || len(names) > e.cfg.Limits.Subscriptions {
		refuseHTTP(w, wire.BadRequest, "name 1 to "+strconv.Itoa(e.cfg.Limits.Subscriptions)+" topics: ?topic=PATTERN&topic=…")
		return nil, nil, false
	}
	wants := make([]wire.Want, len(names))
	for i, n := range names {
		wants[i].Topic = n
	}
	list, wrong := patterns(wants)
	if wrong != nil {
		refuseHTTP(w, wrong.Code, wrong.Message)
		return nil, nil, false
	}
	if i := who.lacks(list); i >= 0 {
		refuseHTTP(w, wire.Forbidden, forbidden(i, list[i]).Message)
		return nil, nil, false
	}
	if p, ok := e.tooWide(list); ok {
		refuseHTTP(w, wire.BadRequest, e.widthAdvice(p))
		return nil, nil, false
	}
	return who.Session, list, true
}

// who asks this host by HTTP.
func (e *Edge) who(r *http.Request, host string) (*session, error) {
	if e.desk == nil {
		return e.anyone, nil
	}
	token, err := e.tokenOf(r, host)
	if err != nil {
		e.metrics.tokens[judge(err)].Inc()
		return nil, err
	}
	s, err := e.desk.wait(r.Context(), token)
	if err != nil {
		return nil, err
	}
	return &session{Session: s}, nil
}

// last answers with the last retained message of every matching topic (PROTOCOL §8).
func (e *Edge) last(w http.ResponseWriter, r *http.Request) {
	_, list, ok := e.asked(w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), loadTimeout)
	defer cancel()
	snapshot, err := e.cfg.Bus.Last(ctx, list...)
	if err != nil {
		e.log.Warn("read last messages", "error", err)
		refuseHTTP(w, wire.Unavailable, "this node can't reach its data right now; ask again in a moment")
		return
	}
	b := append([]byte(`{"epoch":`), strconv.Quote(snapshot.Position.Epoch)...)
	b = strconv.AppendUint(append(b, `,"seq":`...), snapshot.Position.Seq, 10)
	b = append(b, `,"messages":[`...)
	for i, m := range snapshot.Messages {
		if i > 0 {
			b = append(b, ',')
		}
		b = wire.AppendData(b, wire.Data{Topic: string(m.Topic), Seq: m.Seq, Prev: m.Prev, Time: m.Time.UnixMilli(), Payload: m.Payload})
	}
	b = append(b, "]}\n"...)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(30 * time.Second))
	_, _ = w.Write(b)
}
