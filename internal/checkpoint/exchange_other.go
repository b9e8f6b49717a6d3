//go:build !linux

package checkpoint

import "errors"

// exchange would swap two paths in one atomic step; only Linux offers that to us.
func exchange(a, b string) error { return errors.ErrUnsupported }
