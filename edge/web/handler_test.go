package web

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// paths are all that the handler serves, with their content types.
var paths = map[string]string{
	"/":            "text/html; charset=utf-8",
	"/style.css":   "text/css; charset=utf-8",
	"/page.js":     "text/javascript; charset=utf-8",
	"/tidings.js":  "text/javascript; charset=utf-8",
	"/favicon.svg": "image/svg+xml",
}

func ask(method, path string, header ...string) *http.Response {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestHandler_ServesThePage(t *testing.T) {
	for path, kind := range paths {
		resp := ask("GET", path)
		text := body(t, resp)
		if resp.StatusCode != 200 || text == "" {
			t.Errorf("%s: %d with %d bytes", path, resp.StatusCode, len(text))
		}
		for key, want := range map[string]string{
			"Content-Type":            kind,
			"Cache-Control":           "no-cache",
			"X-Content-Type-Options":  "nosniff",
			"Referrer-Policy":         "no-referrer",
			"Content-Security-Policy": policy,
			"Content-Length":          strconv.Itoa(len(text)),
		} {
			if got := resp.Header.Get(key); got != want {
				t.Errorf("%s: %s is %q, want %q", path, key, got, want)
			}
		}
		head := ask("HEAD", path)
		if text := body(t, head); head.StatusCode != 200 || text != "" || head.Header.Get("Content-Length") != resp.Header.Get("Content-Length") {
			t.Errorf("HEAD %s: %d, length %s, %d bytes", path, head.StatusCode, head.Header.Get("Content-Length"), len(text))
		}
	}
}

func TestHandler_ServesEveryFile(t *testing.T) {
	entries, err := page.ReadDir("page")
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(paths) {
		t.Errorf("%d files are embedded, %d are tested", len(entries), len(paths))
	}
}

func TestHandler_SaysNotModified(t *testing.T) {
	tags := map[string]string{}
	for path := range paths {
		tag := ask("GET", path).Header.Get("ETag")
		if other, taken := tags[tag]; taken {
			t.Errorf("%s and %s have the same ETag %s", path, other, tag)
		}
		tags[tag] = path
		resp := ask("GET", path, "If-None-Match", tag)
		if text := body(t, resp); resp.StatusCode != http.StatusNotModified || text != "" {
			t.Errorf("%s: %d and %d bytes for the ETag that it has", path, resp.StatusCode, len(text))
		}
		if got := ask("GET", path, "If-None-Match", `"other"`).StatusCode; got != 200 {
			t.Errorf("%s: %d for another ETag", path, got)
		}
	}
}

func TestHandler_RefusesOtherMethods(t *testing.T) {
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "BREW"} {
		resp := ask(method, "/")
		if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d, Allow %q", method, resp.StatusCode, resp.Header.Get("Allow"))
		}
	}
}

func TestHandler_KnowsNothingElse(t *testing.T) {
	for _, path := range []string{"/index.html", "/page", "/page/", "/page.js/", "/ws", "//", "/../handler.go", "/%2e%2e/handler.go"} {
		resp := ask("GET", path)
		if resp.StatusCode != http.StatusNotFound || resp.Header.Get("Content-Security-Policy") == "" {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
}

func TestPage_LoadsNothingFromElsewhere(t *testing.T) {
	elsewhere := regexp.MustCompile(`(?i)(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}`)
	inline := regexp.MustCompile(`(?i)<script>|<style|\son[a-z]+\s*=|\sstyle\s*=|javascript:`)
	for path := range paths {
		text := strings.ReplaceAll(body(t, ask("GET", path)), "http://www.w3.org/2000/svg", "") // a name, not an address
		if found := elsewhere.FindString(text); found != "" {
			t.Errorf("%s names %s", path, found)
		}
		if strings.HasPrefix(paths[path], "text/html") {
			if found := inline.FindString(text); found != "" {
				t.Errorf("%s has %q, which the policy forbids", path, found)
			}
		}
	}
}

func TestPage_InsertsNoMarkup(t *testing.T) {
	markup := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|setHTML|createContextualFragment|DOMParser|\beval\b|new Function|srcdoc`)
	for path := range paths {
		if found := markup.FindString(body(t, ask("GET", path))); found != "" {
			t.Errorf("%s uses %s", path, found)
		}
	}
}
