//go:build !unix

package docker

// signalNumber knows no names on this system; engines that give a number are understood all the same.
func signalNumber(string) *int { return nil }
