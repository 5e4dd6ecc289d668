package edge

import (
	"sync"
	"sync/atomic"
)

// item is what others leave for a loop: a message to deliver, or something to do.
type item struct {
	frame *frame
	do    func(*loop)
}

// inbox takes items from any goroutine, in order, and never blocks them. The loop takes all at once.
type inbox struct {
	wake   func()      // makes the owner look, if it sleeps
	hushed atomic.Bool // the owner looks by itself, at a time it has set

	mu    sync.Mutex
	items []item
}

func (b *inbox) put(it item) {
	b.mu.Lock()
	b.items = append(b.items, it)
	b.mu.Unlock()
	if !b.hushed.Load() {
		b.wake()
	}
}

// hush says whether the owner is to be woken. It is called before the owner sleeps, and before it looks a last time
// whether the inbox is empty.
func (b *inbox) hush(yes bool) {
	if b.hushed.Load() != yes {
		b.hushed.Store(yes)
	}
}

// take returns all items and leaves spare to be filled next: the two slices change places turn by turn.
func (b *inbox) take(spare []item) []item {
	b.mu.Lock()
	items := b.items
	b.items = spare[:0]
	b.mu.Unlock()
	return items
}

func (b *inbox) empty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.items) == 0
}
