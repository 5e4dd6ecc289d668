// Package mint makes keys and tokens, for trying things out and for tests. An installation has its own issuer, which edges
// and publishers know by its public keys or by a secret that they share with it; no part of them imports this package.
//
// A key is made or read (key.go) and signs claims (token.go). What it makes package auth takes: TestSign_IsTakenByAuth.
package mint
