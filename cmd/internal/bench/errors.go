package bench

import "errors"

// Why nothing could be measured. A user can mend each of these.
var (
	ErrNoEdge        = errors.New("no edge")
	ErrNoNATS        = errors.New("nowhere to publish")
	ErrNoDescriptors = errors.New("too few file descriptors")
)
