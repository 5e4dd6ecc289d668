package bench

import (
	"os"
	"testing"
)

func TestProcesses_OneThatIsNotThereIsNamed(t *testing.T) {
	_, err := processes{os.Getpid(), 1 << 28}.look()
	if err == nil || err.Error() != "--pid: there is no process 268435456" {
		t.Errorf("got %v", err)
	}
}
