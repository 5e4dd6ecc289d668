package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"net/http"
	"path"
	"time"
)

//go:embed page
var page embed.FS

// policy lets the page load its own files and connect to its own origin, and nothing else. Browsers
// that know trusted types refuse even to try to insert markup.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// types are those of the files in page/; the machine's own table may lack them.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// file is one file of the page, ready to be served.
type file struct {
	kind, etag string
	content    []byte
}

// Handler serves the page.
func Handler() http.Handler {
	files := map[string]file{}
	entries, err := page.ReadDir("page")
	if err != nil {
		panic(err) // it is embedded
	}
	for _, entry := range entries {
		content, err := page.ReadFile("page/" + entry.Name())
		if err != nil {
			panic(err) // it is embedded
		}
		sum := sha256.Sum256(content)
		name := entry.Name()
		if name == "index.html" {
			name = ""
		}
		files["/"+name] = file{
			kind:    types[path.Ext(entry.Name())],
			etag:    `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`,
			content: content,
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", policy)
		h.Set("Referrer-Policy", "no-referrer")
		f, found := files[r.URL.Path]
		switch {
		case !found:
			http.Error(w, "There is no such page.", http.StatusNotFound)
			return
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "This page can only be read.", http.StatusMethodNotAllowed)
			return
		}
		h.Set("Content-Type", f.kind)
		h.Set("ETag", f.etag)
		h.Set("Cache-Control", "no-cache") // keep it, but ask whether it changed
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
	})
}
