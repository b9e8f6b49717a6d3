//go:build !unix

package hub

import "os"

// tryLock: without flock the renaming of finished files alone keeps the cache sound.
func tryLock(*os.File) (ok bool, err error) { return true, nil }
