package edge

import "sync"

// item is what others leave for a loop: a message to deliver, or something to do.
type item struct {
	frame *frame
	do    func(*loop)
}

// inbox takes items from any goroutine, in order, and never blocks them. The loop takes all at once.
type inbox struct {
	wake func() // makes the owner look, if it sleeps

	mu    sync.Mutex
	items []item
}

func (b *inbox) put(it item) {
	b.mu.Lock()
	b.items = append(b.items, it)
	b.mu.Unlock()
	b.wake()
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
