package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"sort"
	"sync"
)

// Resolve makes a reference available on disk and returns where: the folder of the snapshot, or the file that the
// reference names. What the cache has is not fetched again. With Offline set, or when the hub cannot be reached, the
// cache alone must do. Errors wrap ErrNotFound, ErrUnauthorized, ErrGated, ErrOffline, ErrCorrupt or ErrUnavailable;
// the faults of several files are reported together.
func Resolve(ctx context.Context, ref string, o Options) (string, error) {
	r, err := ParseRef(ref)
	if err != nil {
		return "", err
	}
	c, err := newClient(o)
	if err != nil {
		return "", err
	}
	if o.CacheDir == "" {
		return "", errors.New("no cache folder: set HF_HOME or HF_HUB_CACHE")
	}
	s := store{o.CacheDir, r}
	if o.Offline {
		return s.cached(c.o)
	}
	commit, files, err := c.revision(ctx, r)
	if errors.Is(err, ErrUnavailable) {
		if dir, cacheErr := s.cached(c.o); cacheErr == nil {
			return dir, nil
		}
	}
	if err != nil {
		return "", err
	}
	want, err := choose(r, c.o, files)
	if err != nil {
		return "", fmt.Errorf("%w: %v", ErrNotFound, err)
	}
	if err := c.fetchAll(ctx, s, commit, want); err != nil {
		return "", fmt.Errorf("%s: %w", r, err)
	}
	if err := s.setCommit(commit); err != nil {
		return "", err
	}
	return s.result(commit), nil
}

// revision asks which commit a revision is at and which files it has.
func (c *client) revision(ctx context.Context, r Ref) (commit string, files []string, err error) {
	var info struct {
		SHA      string `json:"sha"`
		Siblings []struct {
			Name string `json:"rfilename"`
		} `json:"siblings"`
	}
	address := c.o.Endpoint + r.api() + "/revision/" + url.PathEscape(r.Revision)
	if _, err := c.json(ctx, http.MethodGet, address, nil, &info); err != nil {
		return "", nil, err
	}
	if !commitHash.MatchString(info.SHA) {
		return "", nil, fmt.Errorf("%s gave no commit for %s (is HF_ENDPOINT a hub?)", address, r)
	}
	for _, f := range info.Siblings {
		if !safePath(f.Name) {
			return "", nil, fmt.Errorf("%s lists the file %q, which would be written outside the cache; refused", r, f.Name)
		}
		files = append(files, f.Name)
	}
	sort.Strings(files)
	return info.SHA, files, nil
}

// fetchAll fetches files side by side. A fault of one does not stop the others, unless it would hit them too.
func (c *client) fetchAll(ctx context.Context, s store, commit string, files []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	slots := make(chan struct{}, c.o.Concurrency)
	errs := make([]error, len(files))
	for i, f := range files {
		if s.has(commit, f) {
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			errs[i] = ctx.Err()
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			err := c.fetch(ctx, s, commit, f)
			if err != nil {
				errs[i] = fmt.Errorf("%s: %w", f, err)
				if errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrGated) || errors.Is(err, os.ErrPermission) {
					cancel()
				}
			}
		})
	}
	wg.Wait()
	return joinFaults(errs)
}

// joinFaults reports the faults that are not mere consequences of a cancellation, if there are such.
func joinFaults(errs []error) error {
	var real []error
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			real = append(real, err)
		}
	}
	if len(real) == 0 {
		return errors.Join(errs...)
	}
	return errors.Join(real...)
}
