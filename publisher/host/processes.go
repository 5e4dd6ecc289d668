package host

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	topProcesses = 5
	userHZ       = 100 // ticks per second in /proc, on every Linux that Go runs on
	// scanShare bounds what looking at processes costs: after a scan that took t
	// the next one waits for 100 t, which is a hundredth of one core at most.
	scanShare = 100
)

// processStat is what is read of a process.
type processStat struct {
	pid   int
	name  string
	ticks uint64 // of CPU time, in user and kernel mode
	start uint64 // ticks after boot; with pid, the identity of a process
	pages uint64 // resident
}

// processReader scans all processes, for the few that use most. It has a parser
// of its own: both procfs and gopsutil take ten times as long for each.
type processReader struct {
	paths paths

	before   map[int]processStat
	beforeAt time.Time
	next     time.Time // no scan before
	last     *Processes
	buffer   [1024]byte // a stat line has at most some 52 numbers
}

// read scans, or repeats what the last scan found while the next one is not due.
func (r *processReader) read() (*Processes, error) {
	now := time.Now()
	if r.last != nil && now.Before(r.next) {
		return r.last, nil
	}
	stats, err := r.scan()
	if err != nil {
		return nil, err
	}
	r.last = r.processes(stats, now)
	took := time.Since(now)
	r.next = now.Add(took * scanShare)
	return r.last, nil
}

func (r *processReader) scan() (map[int]processStat, error) {
	dir, err := os.Open(r.paths.proc)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	stats := make(map[int]processStat, max(len(r.before), 64))
	for _, name := range names {
		if name[0] < '1' || name[0] > '9' {
			continue
		}
		text, err := r.statLine(name)
		if err != nil {
			continue // it has ended meanwhile, which is nobody's fault
		}
		stat, err := parseProcessStat(text)
		if err != nil {
			return nil, err
		}
		stats[stat.pid] = stat
	}
	return stats, nil
}

// statLine is valid until the next.
func (r *processReader) statLine(pid string) ([]byte, error) {
	f, err := os.Open(r.paths.proc + "/" + pid + "/stat")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n, err := f.Read(r.buffer[:]) // the kernel gives the line in one go
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return r.buffer[:n], nil
}

func (r *processReader) processes(stats map[int]processStat, at time.Time) *Processes {
	p := &Processes{Count: len(stats)}
	elapsed := at.Sub(r.beforeAt).Seconds()
	if r.before != nil && elapsed > 0 {
		p.Top = r.top(stats, elapsed)
	}
	r.before, r.beforeAt = stats, at
	return p
}

// top are those that used most CPU time since the scan before; among those that
// used none, the largest.
func (r *processReader) top(stats map[int]processStat, elapsed float64) []Process {
	page := uint64(os.Getpagesize())
	top := make([]Process, 0, topProcesses+1)
	for pid, now := range stats {
		ticks := now.ticks // one that was not there has used all of it since
		if before, ok := r.before[pid]; ok && before.start == now.start {
			ticks -= min(before.ticks, now.ticks)
		}
		process := Process{
			PID: pid, Name: now.name, MemoryBytes: now.pages * page,
			CPUCores: rounded(float64(ticks)/userHZ/elapsed, 4),
		}
		i, _ := slices.BinarySearchFunc(top, process, compareProcesses)
		if i == topProcesses {
			continue
		}
		top = slices.Insert(top, i, process)
		top = top[:min(len(top), topProcesses)]
	}
	return top
}

func compareProcesses(a, b Process) int {
	return cmp.Or(
		cmp.Compare(b.CPUCores, a.CPUCores),
		cmp.Compare(b.MemoryBytes, a.MemoryBytes),
		cmp.Compare(a.PID, b.PID),
	)
}

// Fields of proc_pid_stat(5), counted from the first after the name.
const (
	statUtime     = 14 - 3
	statStime     = 15 - 3
	statStartTime = 22 - 3
	statRSS       = 24 - 3
)

// parseProcessStat reads proc_pid_stat(5). The name stands in parentheses, and
// may itself hold parentheses, blanks and any other byte.
func parseProcessStat(line []byte) (processStat, error) {
	opening, closing := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	if opening < 1 || closing < opening {
		return processStat{}, fmt.Errorf("process stat %.40q: no name", line)
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(line[:opening])))
	if err != nil {
		return processStat{}, fmt.Errorf("process stat %.40q: %w", line, err)
	}
	stat := processStat{pid: pid, name: strings.ToValidUTF8(string(line[opening+1:closing]), "\uFFFD")}
	rest := line[closing+1:]
	for field := 0; field <= statRSS; field++ {
		rest = bytes.TrimLeft(rest, " ")
		var text []byte
		if text, rest, _ = bytes.Cut(rest, []byte(" ")); len(text) == 0 {
			return processStat{}, fmt.Errorf("process stat of %d: %d fields", pid, field)
		}
		switch field {
		case statUtime, statStime, statStartTime, statRSS:
		default:
			continue
		}
		n, err := strconv.ParseUint(string(text), 10, 64)
		if err != nil {
			return processStat{}, fmt.Errorf("process stat of %d: field %d: %w", pid, field+3, err)
		}
		switch field {
		case statUtime, statStime:
			stat.ticks += n
		case statStartTime:
			stat.start = n
		case statRSS:
			stat.pages = n
		}
	}
	return stat, nil
}
