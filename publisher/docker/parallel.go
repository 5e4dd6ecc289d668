package docker

import "sync"

// inFlight bounds the requests to an engine at one time.
const inFlight = 64

// parallel calls f for each of 0..n-1, several at once, and returns when all
// have.
func parallel(n int, f func(i int)) {
	var all sync.WaitGroup
	slots := make(chan struct{}, inFlight)
	for i := range n {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			f(i)
		})
	}
	all.Wait()
}
