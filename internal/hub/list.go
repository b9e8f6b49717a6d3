package hub

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Entry is a file of a repository.
type Entry struct {
	Path string
	Size int64  // bytes
	Hash string // SHA-256 of a large file, else git's SHA-1
	LFS  bool   // kept in large-file storage
}

var nextLink = regexp.MustCompile(`<([^>]+)>\s*;\s*rel="next"`)

// List gives the files of a repository's revision that lie under the reference's path (all, without one), in the hub's
// order.
func List(ctx context.Context, ref string, o Options) ([]Entry, error) {
	r, err := ParseRef(ref)
	if err != nil {
		return nil, err
	}
	if o.Offline {
		return nil, fmt.Errorf("%w: listing asks the hub, and HF_HUB_OFFLINE is set", ErrOffline)
	}
	c, err := newClient(o)
	if err != nil {
		return nil, err
	}
	var out []Entry
	address := c.o.Endpoint + r.api() + "/tree/" + url.PathEscape(r.Revision) + "?recursive=true"
	for address != "" {
		var page []struct {
			Type, Path, OID string
			Size            int64
			LFS             *struct{ OID string }
		}
		header, err := c.json(ctx, http.MethodGet, address, nil, &page)
		if err != nil {
			return nil, err
		}
		for _, e := range page {
			if e.Type != "file" || (r.Path != "" && e.Path != r.Path && !strings.HasPrefix(e.Path, r.Path+"/") && !matches([]string{r.Path}, e.Path)) {
				continue
			}
			entry := Entry{Path: e.Path, Size: e.Size, Hash: e.OID}
			if e.LFS != nil {
				entry.Hash, entry.LFS = e.LFS.OID, true
			}
			out = append(out, entry)
		}
		next := nextLink.FindStringSubmatch(header.Get("Link"))
		if next == nil || next[1] == address {
			break
		}
		address = next[1]
	}
	return out, nil
}
