package daemon

// An image FROM scratch has no certificates of its own: these authorities count where the system has none.
import _ "golang.org/x/crypto/x509roots/fallback"
