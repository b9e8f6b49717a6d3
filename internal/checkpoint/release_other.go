//go:build !linux

package checkpoint

func release([]byte, int64, int64) {}
