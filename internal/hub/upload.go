package hub

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// UploadOptions say how a folder goes to the hub.
type UploadOptions struct {
	Message string // of the commit; "Upload folder using mltrain" when empty
	Private bool   // of a repository that is created
	Create  bool   // create the repository when it does not exist
}

// upload is one file on its way.
type upload struct {
	path, local string
	size        int64
	sum         string // hex SHA-256
	lfs         bool
}

// Upload commits the files of a local folder (or one file) to a repository's revision and returns the commit. Where
// the hub wants a file in large-file storage, its content goes there first. Options' Include and Exclude choose files;
// hidden files and unfinished ones (*.tmp, *.incomplete) stay behind.
func Upload(ctx context.Context, ref, local string, o Options, u UploadOptions) (commit string, err error) {
	r, err := ParseRef(ref)
	if err != nil {
		return "", err
	}
	if o.Offline {
		return "", fmt.Errorf("%w: uploading needs the hub, and HF_HUB_OFFLINE is set", ErrOffline)
	}
	if o.Token == "" {
		return "", fmt.Errorf("%w: uploading needs a token with write access: set HF_TOKEN", ErrUnauthorized)
	}
	c, err := newClient(o)
	if err != nil {
		return "", err
	}
	files, err := collect(local, r.Path, o)
	if err != nil {
		return "", err
	}
	if u.Create {
		if err := c.create(ctx, r, u.Private); err != nil {
			return "", err
		}
	}
	if err := c.modes(ctx, r, files); err != nil {
		return "", err
	}
	if err := c.sendLarge(ctx, r, files); err != nil {
		return "", err
	}
	if u.Message == "" {
		u.Message = "Upload folder using mltrain"
	}
	return c.commit(ctx, r, files, u.Message)
}

func collect(local, prefix string, o Options) ([]*upload, error) {
	var out []*upload
	err := filepath.WalkDir(local, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if p != local && strings.HasPrefix(name, ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := os.Stat(p) // follows links, which snapshots consist of
		if err != nil || info.IsDir() {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is no regular file", p)
		}
		rel, err := filepath.Rel(local, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if rel == "." {
			rel = name
		}
		ext := filepath.Ext(name)
		if ext == ".tmp" || ext == ".incomplete" || matches(o.Exclude, rel) || (len(o.Include) > 0 && !matches(o.Include, rel)) {
			return nil
		}
		if prefix != "" {
			rel = prefix + "/" + rel
		}
		out = append(out, &upload{path: rel, local: p, size: info.Size()})
		return nil
	})
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("%s holds no files to upload", local)
	}
	return out, err
}

func (c *client) create(ctx context.Context, r Ref, private bool) error {
	org, name, ok := strings.Cut(r.Repo, "/")
	in := map[string]any{"name": name, "organization": org, "type": r.Type, "private": private}
	if !ok {
		in = map[string]any{"name": r.Repo, "type": r.Type, "private": private}
	}
	raw, err := json.Marshal(in)
	if err != nil {
		return err
	}
	resp, err := c.do(ctx, request{method: http.MethodPost, url: c.o.Endpoint + "/api/repos/create",
		header: map[string]string{"Content-Type": "application/json"}, body: memory(raw)})
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 && resp.StatusCode != http.StatusConflict { // conflict: it exists already
		return c.failure(resp)
	}
	return resp.Body.Close()
}

func memory(b []byte) func() (io.Reader, int64, error) {
	return func() (io.Reader, int64, error) { return bytes.NewReader(b), int64(len(b)), nil }
}

// sampleSize is how much of a file the hub looks at to tell text from data.
const sampleSize = 512

// modes asks the hub which files belong into large-file storage.
func (c *client) modes(ctx context.Context, r Ref, files []*upload) error {
	const batch = 256
	for from := 0; from < len(files); from += batch {
		part := files[from:min(from+batch, len(files))]
		type file struct {
			Path   string `json:"path"`
			Sample string `json:"sample"`
			Size   int64  `json:"size"`
		}
		in := struct {
			Files []file `json:"files"`
		}{}
		for _, f := range part {
			sample, err := readSample(f.local)
			if err != nil {
				return err
			}
			in.Files = append(in.Files, file{f.path, base64.StdEncoding.EncodeToString(sample), f.size})
		}
		var out struct {
			Files []struct{ Path, UploadMode string }
		}
		address := c.o.Endpoint + r.api() + "/preupload/" + url.PathEscape(r.Revision)
		if _, err := c.json(ctx, http.MethodPost, address, in, &out); err != nil {
			return err
		}
		modes := map[string]string{}
		for _, f := range out.Files {
			modes[f.Path] = f.UploadMode
		}
		for _, f := range part {
			mode := modes[f.path]
			if mode != "lfs" && mode != "regular" {
				return fmt.Errorf("the hub does not say how to upload %s (%q)", f.path, mode)
			}
			f.lfs = mode == "lfs" && f.size > 0 // storage takes no empty objects
		}
	}
	return nil
}

func readSample(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, sampleSize))
}

// action is where a large file's content is to be sent.
type action struct {
	Href   string
	Header map[string]any
}

type lfsObject struct {
	OID     string
	Error   *struct{ Message string }
	Actions struct{ Upload, Verify *action }
}

// sendLarge sends the large files' contents to storage, what is there already excepted.
func (c *client) sendLarge(ctx context.Context, r Ref, files []*upload) error {
	bySum := map[string]*upload{}
	var objects []map[string]any
	for _, f := range files {
		if !f.lfs {
			continue
		}
		var err error
		if f.sum, err = hashFile(f.local); err != nil {
			return err
		}
		if bySum[f.sum] == nil {
			bySum[f.sum] = f
			objects = append(objects, map[string]any{"oid": f.sum, "size": f.size})
		}
	}
	if len(objects) == 0 {
		return nil
	}
	in, err := json.Marshal(map[string]any{"operation": "upload", "transfers": []string{"basic", "multipart"},
		"hash_algo": "sha256", "ref": map[string]string{"name": r.Revision}, "objects": objects})
	if err != nil {
		return err
	}
	const kind = "application/vnd.git-lfs+json"
	var out struct{ Objects []lfsObject }
	if _, err := c.answer(ctx, request{method: http.MethodPost, url: c.o.Endpoint + r.web() + ".git/info/lfs/objects/batch",
		header: map[string]string{"Content-Type": kind, "Accept": kind}, body: memory(in)}, &out); err != nil {
		return err
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, c.o.Concurrency)
	errs := make([]error, len(out.Objects))
	for i, obj := range out.Objects {
		f := bySum[obj.OID]
		switch {
		case f == nil:
			errs[i] = fmt.Errorf("the hub asks for an object %s that was not offered", obj.OID)
			continue
		case obj.Error != nil:
			errs[i] = fmt.Errorf("%s: the hub's storage refuses it: %s", f.path, obj.Error.Message)
			continue
		}
		delete(bySum, obj.OID)
		if obj.Actions.Upload == nil {
			continue // stored already
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if err := c.sendObject(ctx, f, obj); err != nil {
				errs[i] = fmt.Errorf("%s: %w", f.path, err)
			}
		})
	}
	wg.Wait()
	for _, f := range bySum {
		errs = append(errs, fmt.Errorf("%s: the hub's storage gave no answer for it", f.path))
	}
	return joinFaults(errs)
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}

func (c *client) sendObject(ctx context.Context, f *upload, obj lfsObject) (err error) {
	if p := c.o.Progress; p != nil {
		p.Start(f.path, f.size, 0)
		defer func() { p.Finish(f.path, err) }()
	}
	up := obj.Actions.Upload
	if chunk, ok := up.Header["chunk_size"]; ok {
		err = c.sendParts(ctx, f, up, fmt.Sprint(chunk))
	} else {
		_, err = c.put(ctx, f, up.Href, 0, f.size)
	}
	if err != nil || obj.Actions.Verify == nil {
		return err
	}
	_, err = c.json(ctx, http.MethodPost, obj.Actions.Verify.Href, map[string]any{"oid": f.sum, "size": f.size}, nil)
	return err
}

// put sends a range of a file and returns the etag that the storage gives it.
func (c *client) put(ctx context.Context, f *upload, address string, off, n int64) (string, error) {
	file, err := os.Open(f.local)
	if err != nil {
		return "", err
	}
	defer file.Close()
	var sent atomic.Int64 // the transport may still read the last try's body
	resp, err := c.do(ctx, request{method: http.MethodPut, url: address, body: func() (io.Reader, int64, error) {
		c.advance(f.path, -sent.Swap(0))
		return &counter{io.NewSectionReader(file, off, n), func(n int64) { sent.Add(n); c.advance(f.path, n) }}, n, nil
	}})
	if err != nil {
		return "", err
	}
	if resp.StatusCode/100 != 2 {
		return "", c.failure(resp)
	}
	return resp.Header.Get("ETag"), resp.Body.Close()
}

// sendParts sends a file in the parts that the hub prepared addresses for, then says that all are there.
func (c *client) sendParts(ctx context.Context, f *upload, up *action, chunk string) error {
	size, err := strconv.ParseInt(chunk, 10, 64)
	if err != nil || size <= 0 {
		return fmt.Errorf("the hub's storage gave a bad chunk_size %q", chunk)
	}
	urls := map[int]string{}
	var numbers []int
	for k, v := range up.Header {
		if n, err := strconv.Atoi(k); err == nil {
			if urls[n], _ = v.(string); urls[n] != "" {
				numbers = append(numbers, n)
			}
		}
	}
	sort.Ints(numbers)
	if want := (f.size + size - 1) / size; int64(len(numbers)) != want {
		return fmt.Errorf("the hub's storage gave %d addresses for %d parts", len(numbers), want)
	}
	type part struct {
		Number int    `json:"partNumber"`
		ETag   string `json:"etag"`
	}
	done := struct {
		OID   string `json:"oid"`
		Parts []part `json:"parts"`
	}{OID: f.sum}
	for i, n := range numbers {
		off := int64(i) * size
		etag, err := c.put(ctx, f, urls[n], off, min(size, f.size-off))
		if err != nil {
			return err
		}
		if etag == "" {
			return fmt.Errorf("the hub's storage gave no etag for part %d", n)
		}
		done.Parts = append(done.Parts, part{n, etag})
	}
	_, err = c.json(ctx, http.MethodPost, up.Href, done, nil)
	return err
}

// commit writes the commit: small files within it, large ones by their hashes.
func (c *client) commit(ctx context.Context, r Ref, files []*upload, message string) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	line := func(key string, value any) error {
		return enc.Encode(map[string]any{"key": key, "value": value})
	}
	err := line("header", map[string]string{"summary": message, "description": ""})
	for _, f := range files {
		if f.lfs {
			err = errors.Join(err, line("lfsFile", map[string]any{"path": f.path, "algo": "sha256", "oid": f.sum, "size": f.size}))
			continue
		}
		content, readErr := os.ReadFile(f.local)
		if readErr != nil {
			return "", readErr
		}
		err = errors.Join(err, line("file", map[string]any{"path": f.path, "encoding": "base64",
			"content": base64.StdEncoding.EncodeToString(content)}))
	}
	if err != nil {
		return "", err
	}
	var out struct {
		CommitOID string `json:"commitOid"`
	}
	_, err = c.answer(ctx, request{method: http.MethodPost, url: c.o.Endpoint + r.api() + "/commit/" + url.PathEscape(r.Revision),
		header: map[string]string{"Content-Type": "application/x-ndjson"}, body: memory(b.Bytes())}, &out)
	if err == nil && out.CommitOID == "" {
		err = errors.New("the hub confirmed no commit")
	}
	return out.CommitOID, err
}
