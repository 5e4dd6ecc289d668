package edge_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if order := os.Getenv(halfMadeOrder); order != "" {
		os.Exit(halfMake(order)) // this process is an attacker
	}
	goleak.VerifyTestMain(m)
}
