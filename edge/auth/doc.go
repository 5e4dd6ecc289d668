// Package auth turns a token into a session: who a client is, until when, and what it may do (PROTOCOL §7).
package auth
