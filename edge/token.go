package edge

import (
	"errors"
	"net/http"
	"strings"

	"tidings/edge/auth"
	"tidings/edge/wire"
)

// tokenIn finds the token of a request in the first place that has one (PROTOCOL §2), and says whether that is the cookie;
// "": there is none.
func (c *Config) tokenIn(r *http.Request) (token string, byCookie bool) {
	if scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		if token = strings.TrimSpace(value); token != "" {
			return token, false
		}
	}
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(line, ",") {
			if token, ok := strings.CutPrefix(strings.TrimSpace(name), "bearer."); ok && token != "" {
				return token, false
			}
		}
	}
	if c.TokenCookie != "" {
		if cookie, err := r.Cookie(c.TokenCookie); err == nil && cookie.Value != "" {
			return cookie.Value, true
		}
	}
	if c.TokenQuery {
		return r.URL.Query().Get("access_token"), false
	}
	return "", false
}

// tokenOf is tokenIn with what has to be so before a token is looked at. The host is the one that a browser asked for.
func (e *Edge) tokenOf(r *http.Request, host string) (string, error) {
	token, byCookie := e.cfg.tokenIn(r)
	switch {
	case token == "":
		return "", errNoToken
	case byCookie && !e.ownPage(r, host):
		return "", errCookieOrigin
	}
	return token, nil
}

var (
	errNoToken      = errors.New("no token")
	errCookieOrigin = errors.New("a cookie from a page that may not use it")
)

// ownPage reports whether a cookie may speak for a request. Browsers send it with whatever another site's page makes them
// ask for, so the page has to be of the same host, or of one that the operator named: "*" names none. Who is no browser has
// other ways to send a token. Browsers name no origin when a page reads from its own host; newer ones say so otherwise.
func (e *Edge) ownPage(r *http.Request, host string) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return r.Header.Get("Upgrade") == "" && r.Header.Get("Sec-Fetch-Site") == "same-origin"
	}
	return e.origins.vouch(origin, host)
}

// tokenRefusal is what a client is told whose token is not there, or no good. It says nothing that helps to forge one.
func (c *Config) tokenRefusal(err error) refusal {
	refused := refusal{status: http.StatusUnauthorized, code: wire.Unauthorized, result: handshakeUnauthorized}
	switch {
	case errors.Is(err, errNoToken):
		refused.headers = "WWW-Authenticate: Bearer\r\n" // RFC 6750 §3
		refused.message = "a token is needed: send it as Authorization: Bearer TOKEN, or offer the subprotocol bearer.TOKEN"
		if c.TokenCookie != "" {
			refused.message += ", or in the cookie " + c.TokenCookie
		}
		if c.TokenQuery {
			refused.message += ", or as ?access_token=TOKEN"
		}
	case errors.Is(err, errCookieOrigin):
		return refusal{status: http.StatusForbidden, code: wire.ForbiddenOrigin, result: handshakeOrigin,
			message: "a cookie is taken only from pages of this host and of those that the operator names in origins; others send their token otherwise"}
	case errors.Is(err, auth.ErrExpired):
		refused.headers = "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n"
		refused.message = "the token has expired; get a new one and connect again"
	case errors.Is(err, auth.ErrInvalid):
		refused.headers = "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n"
		refused.message = "the token is not valid here; get one that is meant for this service"
	default:
		return refusal{status: http.StatusServiceUnavailable, code: wire.Unavailable, result: handshakeNoKeys,
			headers: "Retry-After: 5\r\n", message: "this node can't verify tokens right now; try again in a moment"}
	}
	return refused
}
