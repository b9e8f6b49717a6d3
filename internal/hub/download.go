package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// meta is what the hub says about a file before it is fetched.
type meta struct {
	etag string
	size int64 // -1 when unknown
}

var (
	sha256Name = regexp.MustCompile(`^[0-9a-f]{64}$`)
	sha1Name   = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// fetch brings one file of a commit into the cache.
func (c *client) fetch(ctx context.Context, s store, commit, file string) (err error) {
	address := c.o.Endpoint + s.ref.web() + "/resolve/" + commit + "/" + escapePath(file)
	m, err := c.head(ctx, address)
	if err != nil {
		return err
	}
	unlock, err := s.lock(ctx, m.etag)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(s.blob(m.etag)); err != nil {
		if err := c.download(ctx, address, file, s.blob(m.etag), m); err != nil {
			return err
		}
	}
	return s.link(commit, file, m.etag)
}

// head asks for a file's etag and size. Large files are answered by a redirect to a storage host, whose own etag means
// nothing: the hub's X-Linked-Etag counts.
func (c *client) head(ctx context.Context, address string) (meta, error) {
	resp, err := c.do(ctx, request{method: http.MethodHead, url: address, stay: true})
	if err != nil {
		return meta{}, err
	}
	if resp.StatusCode/100 != 2 && resp.StatusCode/100 != 3 {
		return meta{}, c.failure(resp)
	}
	resp.Body.Close()
	etag := resp.Header.Get("X-Linked-Etag")
	if etag == "" {
		etag = resp.Header.Get("ETag")
	}
	m := meta{etag: strings.Trim(strings.TrimPrefix(etag, "W/"), `"`), size: -1}
	size := resp.Header.Get("X-Linked-Size")
	if size == "" && resp.StatusCode/100 == 2 {
		size = resp.Header.Get("Content-Length")
	}
	if n, err := strconv.ParseInt(size, 10, 64); err == nil && n >= 0 {
		m.size = n
	}
	if !etagName.MatchString(m.etag) {
		return meta{}, fmt.Errorf("%s has no usable ETag (%q): is HF_ENDPOINT a hub?", address, etag)
	}
	return m, nil
}

// download writes a blob. It goes on where an earlier try (of this or another run) stopped, and gives the blob its name
// only when size and hash are right.
func (c *client) download(ctx context.Context, address, file, blob string, m meta) (err error) {
	if err := os.MkdirAll(filepath.Dir(blob), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(blob+".incomplete", os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if m.size >= 0 && have > m.size {
		have = 0
	}
	if p := c.o.Progress; p != nil {
		p.Start(file, m.size, have)
		defer func() { p.Finish(file, err) }()
	}
	resumed := have > 0
	for fails := 0; ; {
		before := have
		if have, err = c.transfer(ctx, address, file, f, have, m); err == nil {
			if err = check(f, have, m); err == nil {
				break
			}
			// What was there from an earlier run may be what is wrong: once, begin anew.
			c.advance(file, -have)
			if !resumed {
				os.Remove(f.Name())
				return err
			}
			have, resumed = 0, false
			if err := f.Truncate(0); err != nil {
				return err
			}
			continue
		}
		var stop *permanent
		if errors.As(err, &stop) {
			return stop.error
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if fails++; have > before {
			fails = 1
		}
		if fails >= c.o.Attempts {
			return fmt.Errorf("%w: %v after %d of %d bytes (tried %d times; what came is kept, run again to go on)",
				ErrUnavailable, err, have, m.size, fails)
		}
		if err := c.wait(ctx, fails-1, nil); err != nil {
			return err
		}
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), blob)
}

// permanent is a fault that another try would not mend.
type permanent struct{ error }

func (c *client) advance(file string, n int64) {
	if c.o.Progress != nil && n != 0 {
		c.o.Progress.Advance(file, n)
	}
}

// transfer asks for the bytes from have on and appends them; it returns how many there are then.
func (c *client) transfer(ctx context.Context, address, file string, f *os.File, have int64, m meta) (int64, error) {
	if m.size >= 0 && have == m.size {
		return have, nil
	}
	r := request{method: http.MethodGet, url: address}
	if have > 0 {
		r.header = map[string]string{"Range": fmt.Sprintf("bytes=%d-", have)}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := c.do(ctx, r)
	if err != nil {
		return have, &permanent{err} // do has tried often enough
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusPartialContent && strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", have)):
	case resp.StatusCode == http.StatusOK, resp.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		c.advance(file, -have)
		have = 0
		if resp.StatusCode != http.StatusOK {
			return have, errors.Join(fmt.Errorf("the server refused to go on"), f.Truncate(0))
		}
	case resp.StatusCode == http.StatusPartialContent:
		return have, &permanent{fmt.Errorf("the server sent the wrong range %q", resp.Header.Get("Content-Range"))}
	default:
		return have, &permanent{c.failure(resp)}
	}
	if err := f.Truncate(have); err != nil {
		return have, &permanent{err}
	}
	if _, err := f.Seek(have, io.SeekStart); err != nil {
		return have, &permanent{err}
	}
	body := io.Reader(resp.Body)
	if m.size >= 0 {
		body = io.LimitReader(resp.Body, m.size-have+1) // one more shows a body that is too long
	}
	stalled := time.AfterFunc(c.o.stall, cancel)
	defer stalled.Stop()
	n, err := io.Copy(f, &counter{body, func(n int64) { stalled.Reset(c.o.stall); c.advance(file, n) }})
	have += n
	var disk *os.PathError
	switch {
	case errors.As(err, &disk):
		return have, &permanent{err}
	case err != nil:
		return have, err
	case m.size >= 0 && have > m.size:
		c.advance(file, -have)
		return 0, errors.Join(fmt.Errorf("the server sent more than the %d bytes it announced", m.size), f.Truncate(0))
	case m.size >= 0 && have < m.size:
		return have, io.ErrUnexpectedEOF
	}
	return have, nil
}

type counter struct {
	r    io.Reader
	note func(int64)
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.note(int64(n))
	return n, err
}

// check compares a file with what its etag says: the SHA-256 of a large file, or git's SHA-1 of a small one.
func check(f *os.File, size int64, m meta) error {
	if m.size >= 0 && size != m.size {
		return fmt.Errorf("%w: %d bytes, not %d", ErrCorrupt, size, m.size)
	}
	var h hash.Hash
	switch {
	case sha256Name.MatchString(m.etag):
		h = sha256.New()
	case sha1Name.MatchString(m.etag):
		h = sha1.New()
		fmt.Fprintf(h, "blob %d\x00", size)
	default:
		return nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != m.etag {
		return fmt.Errorf("%w: its hash is %s, the hub says %s", ErrCorrupt, got, m.etag)
	}
	return nil
}
