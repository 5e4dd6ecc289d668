package host

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

const statTail = "S 0 1 1 0 -1 4194560 100 200 3 4 %d %d 5 6 20 0 1 0 %d 170000000 %d 18446744073709551615 1 1 0 0 0\n"

func statText(pid int, name string, user, system, start, pages uint64) string {
	return fmt.Sprintf("%d (%s) "+statTail, pid, name, user, system, start, pages)
}

func TestProcesses_TopByCPUSinceTheLastScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := newMachine(t)
		r := processReader{paths: host.paths()}
		read := func() *Processes {
			p, err := r.read()
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		if first := read(); first.Count != 7 || first.Top != nil {
			t.Errorf("the first scan knows who used the CPU: %s", show(first))
		}
		time.Sleep(2 * time.Second)
		host.write("proc/100/stat", statText(100, "postgres", 5060, 1020, 500, 50000))  // 80 ticks in 2 s
		host.write("proc/200/stat", statText(200, "my (odd) na me)", 10, 10, 900, 400)) // another with the same id
		host.write("proc/300/stat", statText(300, "new", 120, 0, 99999, 10))            // born since
		host.remove("proc/203")
		page := uint64(os.Getpagesize())
		want := Processes{Count: 7, Top: []Process{
			{300, "new", 0.6, 10 * page},
			{100, "postgres", 0.4, 50000 * page},
			{200, "my (odd) na me)", 0.1, 400 * page},
			{1, "systemd", 0, 3000 * page}, // and of the idle the largest
			{201, "sshd", 0, 300 * page},
		}}
		if got := show(read()); got != show(want) {
			t.Errorf("got  %s\nwant %s", got, show(want))
		}
	})
}

// A host with very many processes is scanned less often rather than at a high cost.
func TestProcesses_ScanCostsAHundredthOfACoreAtMost(t *testing.T) {
	host := newMachine(t)
	r := processReader{paths: host.paths()}
	if _, err := r.read(); err != nil {
		t.Fatal(err)
	}
	r.next = time.Now().Add(time.Hour) // as after a scan of 36 s
	host.remove("proc/100")
	if p, err := r.read(); err != nil || p.Count != 7 {
		t.Errorf("scanned before its time: %s %v", show(p), err)
	}
	r.next = time.Now()
	before := time.Now()
	if p, err := r.read(); err != nil || p.Count != 6 {
		t.Errorf("not scanned when due: %s %v", show(p), err)
	}
	if took := time.Since(before); r.next.Sub(before) < scanShare*took/20 || r.next.Sub(before) > scanShare*took {
		t.Errorf("a scan of at most %v is followed by the next after %v", took, r.next.Sub(before))
	}
}

func TestProcesses_OneThatEndsWhileScannedIsNoError(t *testing.T) {
	host := newMachine(t)
	host.remove("proc/100/stat")
	r := processReader{paths: host.paths()}
	if p, err := r.read(); err != nil || p.Count != 6 {
		t.Errorf("%s %v", show(p), err)
	}
}

func FuzzParseProcessStat(f *testing.F) {
	f.Add([]byte(statText(1, "systemd", 1, 2, 3, 4)))
	f.Add([]byte(statText(7, "a) b (c", 1, 2, 3, 4)))
	f.Add([]byte("1 (x)"))
	f.Add([]byte(") 1 ("))
	f.Add([]byte("1 (\xff\n) S"))
	f.Fuzz(func(t *testing.T, line []byte) {
		stat, err := parseProcessStat(line)
		if err != nil {
			return
		}
		// What was understood can be written and read again.
		text := statText(stat.pid, stat.name, stat.ticks, 0, stat.start, stat.pages)
		again, err := parseProcessStat([]byte(text))
		if err != nil || again != stat {
			t.Errorf("%q gives %+v, which gives %+v %v", line, stat, again, err)
		}
	})
}

func TestParseProcessStat_RefusesWhatIsCutShort(t *testing.T) {
	whole := []byte(statText(1, "systemd", 1, 2, 3, 4))
	if _, err := parseProcessStat(whole); err != nil {
		t.Fatal(err)
	}
	upTo := bytes.Index(whole, []byte(" 170000000")) + len(" 170000000")
	for n := range upTo {
		if _, err := parseProcessStat(whole[:n]); err == nil {
			t.Errorf("%q is taken", whole[:n])
		}
	}
}
