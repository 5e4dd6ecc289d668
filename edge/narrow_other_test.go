//go:build !unix

package edge_test

import "errors"

// narrow is not known here.
func narrow(uintptr, int) error { return errors.ErrUnsupported }
