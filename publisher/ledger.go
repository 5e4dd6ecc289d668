package publisher

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// The phases of an action in the audit file.
const (
	phaseIntent  = "intent"  // it is about to begin
	phaseOutcome = "outcome" // it has ended, or was refused; a refused one has no intent
)

// entry is a line of the audit file. It holds no token.
type entry struct {
	Time  time.Time `json:"time"`
	Phase string    `json:"phase"`
	Entry string    `json:"entry"` // the same for an intent and its outcome
	Host  string    `json:"host"`  // token
	Key   string    `json:"key"`   // of the request
	Asked string    `json:"asked"` // the container as it was asked for
	ActionRecord
}

// ledger is the audit file. What was written to it is on the disk when the writing returns.
type ledger struct {
	path string
	mu   sync.Mutex // one writes at a time
	file *os.File   // nil: not open
}

// openLedger opens the file, and reads what of this host's is in it.
func openLedger(path, host string) (*ledger, []entry, error) {
	l := &ledger{path: path}
	entries, err := readEntries(path, host)
	if err == nil {
		err = l.open()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("audit file: %w", err)
	}
	return l, entries, nil
}

// write appends a line and waits until the disk has it.
func (l *ledger) write(e entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("audit file: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.append(append(line, '\n')); err != nil {
		l.shut() // the next one tries anew
		return fmt.Errorf("audit file: %w", err)
	}
	return nil
}

func (l *ledger) append(line []byte) error {
	if l.file == nil || l.moved() {
		l.shut()
		if err := l.open(); err != nil {
			return err
		}
	}
	if _, err := l.file.Write(line); err != nil {
		return err
	}
	return l.file.Sync()
}

// moved tells that somebody has renamed or removed the file, to rotate it.
func (l *ledger) moved() bool {
	there, err := os.Stat(l.path)
	if err != nil {
		return true
	}
	ours, err := l.file.Stat()
	return err != nil || !os.SameFile(there, ours)
}

// open opens the file, made if it is missing. A line that a crash has cut short is ended, so that it spoils no other.
func (l *ledger) open() error {
	file, err := os.OpenFile(l.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(endLine(file), syncDirectory(filepath.Dir(l.path))); err != nil {
		return errors.Join(err, file.Close())
	}
	l.file = file
	return nil
}

func endLine(file *os.File) error {
	info, err := file.Stat()
	if err != nil || info.Size() == 0 || !info.Mode().IsRegular() {
		return err
	}
	last := make([]byte, 1)
	if _, err := file.ReadAt(last, info.Size()-1); err != nil {
		return err
	}
	if last[0] == '\n' {
		return nil
	}
	_, err = file.Write([]byte{'\n'})
	return err
}

func (l *ledger) shut() {
	if l.file != nil {
		_ = l.file.Close() // each write was synced
		l.file = nil
	}
}

func (l *ledger) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shut()
}

// readEntries reads a host's entries. A line that cannot be read was cut short by a crash: what it would have said has not begun.
func readEntries(path, host string) (entries []entry, err error) {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	for lines := bufio.NewReader(file); ; {
		line, err := lines.ReadBytes('\n')
		var e entry
		if json.Unmarshal(line, &e) == nil && e.Host == host {
			entries = append(entries, e)
		}
		if err == io.EOF {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
	}
}
