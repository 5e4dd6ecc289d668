package wire

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestLists_AreTheProtocols holds the closed lists against those of the
// protocol's page, copied here word by word.
func TestLists_AreTheProtocols(t *testing.T) {
	for _, list := range []struct {
		name, page string
		code       string
	}{
		{"codes", "bad_request unauthorized forbidden not_found conflict timeout unavailable limit_exceeded too_many_requests token_expired protected disabled host_offline internal", words(Codes)},
		{"close codes", "1000 1001 1002 1003 1007 1009 1011 1012 4401 4408 4409 4429 4501 4502", numbers(CloseCodes)},
		{"reserved types", "connected ack error heartbeat gap status going_away subscribe unsubscribe action refresh", strings.Join(ReservedTypes, " ")},
		{"verbs", "start stop restart pause unpause kill remove", words(Verbs)},
		{"gap reasons", "expired slow upstream epoch", words(GapReasons)},
		{"request types", "subscribe unsubscribe action refresh heartbeat", words(RequestTypes)},
		{"message types", "connected ack error heartbeat gap status going_away", words(MessageTypes)},
		{"refusal codes", "bad_request unauthorized forbidden_origin upgrade_required too_many_requests unavailable", words(RefusalCodes)},
	} {
		if list.code != list.page {
			t.Errorf("%s:\n    here %s\non paper %s", list.name, list.code, list.page)
		}
	}
	for _, kind := range slices.Concat(strings.Fields(words(MessageTypes)), strings.Fields(words(RequestTypes))) {
		if !slices.Contains(ReservedTypes, kind) {
			t.Errorf("%s is a type on the wire, but not reserved", kind)
		}
	}
}

func TestCloseCode_Reconnect(t *testing.T) {
	for code, want := range map[CloseCode]bool{
		1000: false, 1001: false, 1002: false, 1003: false, 1007: false, 1009: false,
		1011: true, 1012: true,
		4401: true, 4408: true, 4409: true, 4429: true, 4400: true, 4499: true,
		4501: false, 4502: false, 4500: false, 4599: false,
		1005: true, 1006: true, 1013: true, 4600: true, // not the protocol's own
	} {
		if code.Reconnect() != want {
			t.Errorf("%s: comes back is %t, want %t", code, code.Reconnect(), want)
		}
	}
}

func TestCloseCode_StringHasAMeaningForEach(t *testing.T) {
	for _, code := range CloseCodes {
		if !strings.HasPrefix(code.String(), fmt.Sprintf("%d ", code)) {
			t.Errorf("%d is called %q", code, code)
		}
	}
	if got := CloseCode(3000).String(); got != "3000" {
		t.Errorf("3000 is called %q", got)
	}
}

func TestCode_StatusOfRefusals(t *testing.T) {
	want := map[Code]int{BadRequest: 400, Unauthorized: 401, ForbiddenOrigin: 403, UpgradeRequired: 426, TooManyRequests: 429, Unavailable: 503}
	for _, code := range RefusalCodes {
		if code.Status() != want[code] {
			t.Errorf("%s: status %d, want %d", code, code.Status(), want[code])
		}
	}
	if got := Conflict.Status(); got != http.StatusInternalServerError {
		t.Errorf("conflict never refuses, but has status %d", got)
	}
}

func TestPosition_ReadsWhatItWrites(t *testing.T) {
	p := Position{Epoch: "1z8k", Seq: 4031}
	if got, err := ParsePosition(p.String()); err != nil || got != p {
		t.Errorf("%s was read as %v, %v", p, got, err)
	}
	for _, wrong := range []string{"", "4031", ":4031", "1z8k:", "1z8k:-1", "1z8k:1x", "1z8k:9007199254740993"} {
		if p, err := ParsePosition(wrong); err == nil {
			t.Errorf("%q was read as %v", wrong, p)
		}
	}
}

func words[T ~string](list []T) string {
	var s []string
	for _, w := range list {
		s = append(s, string(w))
	}
	return strings.Join(s, " ")
}

func numbers(list []CloseCode) string {
	var s []string
	for _, c := range list {
		s = append(s, fmt.Sprintf("%d", uint16(c)))
	}
	return strings.Join(s, " ")
}
