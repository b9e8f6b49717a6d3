package hub

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const commitA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// fakeHub is a hub with one repository, whose large files lie on a second host, and which misbehaves when told to.
type fakeHub struct {
	t            *testing.T
	hub, storage *httptest.Server
	repo         string // "org/name" or "datasets/org/name"
	token        string // wanted when not ""
	files        map[string]string
	large        map[string]bool
	chunk        int64 // part size of uploads; 0 for uploads in one piece

	mu        sync.Mutex
	faults    map[string][]fault // by "METHOD path", used up one by one
	log       []string           // "METHOD path" and its Range
	stored    map[string]string  // uploaded objects by hash
	parts     map[string]string
	committed map[string]string
	created   string
}

// fault is one misbehaviour.
type fault struct {
	status    int
	code      string // X-Error-Code
	after     string // Retry-After
	drop      int    // cut the connection after so many bytes of the body (with noBody, before any answer)
	noBody    bool
	hang      bool   // with drop: stand still instead of cutting
	body      string // instead of the real one
	announced int    // Content-Length, when not the real one
}

func newFakeHub(t *testing.T, repo string, files map[string]string) *fakeHub {
	h := &fakeHub{t: t, repo: repo, files: files, large: map[string]bool{}, faults: map[string][]fault{},
		stored: map[string]string{}, parts: map[string]string{}, committed: map[string]string{}}
	for name := range files {
		h.large[name] = strings.HasSuffix(name, ".safetensors") || strings.HasSuffix(name, ".bin")
	}
	h.hub = httptest.NewServer(http.HandlerFunc(h.serveHub))
	h.storage = httptest.NewServer(http.HandlerFunc(h.serveStorage))
	t.Cleanup(h.hub.Close)
	t.Cleanup(h.storage.Close)
	return h
}

func (h *fakeHub) options() Options {
	return Options{Endpoint: h.hub.URL, CacheDir: h.t.TempDir(), Token: h.token,
		sleep: func(d time.Duration) <-chan time.Time {
			h.note(fmt.Sprintf("sleep %v", d))
			c := make(chan time.Time, 1)
			c <- time.Time{}
			return c
		}}
}

func (h *fakeHub) note(s string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.log = append(h.log, s)
}

func (h *fakeHub) count(prefix string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, l := range h.log {
		if strings.HasPrefix(l, prefix) {
			n++
		}
	}
	return n
}

func (h *fakeHub) has(line string) bool { return h.count(line) > 0 }

func sha256Of(s string) string { b := sha256.Sum256([]byte(s)); return hex.EncodeToString(b[:]) }
func gitSHA1(s string) string {
	b := sha1.Sum([]byte(fmt.Sprintf("blob %d\x00%s", len(s), s)))
	return hex.EncodeToString(b[:])
}

func (h *fakeHub) etag(name string) string {
	if h.large[name] {
		return sha256Of(h.files[name])
	}
	return gitSHA1(h.files[name])
}

// misbehave uses up a fault; true when it has answered.
func (h *fakeHub) misbehave(w http.ResponseWriter, r *http.Request) (f fault, answered bool) {
	key := r.Method + " " + r.URL.Path
	h.mu.Lock()
	line := key
	if rg := r.Header.Get("Range"); rg != "" {
		line += " " + rg
	}
	h.log = append(h.log, line)
	if fs := h.faults[key]; len(fs) > 0 {
		f, h.faults[key] = fs[0], fs[1:]
	}
	h.mu.Unlock()
	if f.noBody {
		panic(http.ErrAbortHandler)
	}
	if f.status != 0 {
		w.Header().Set("X-Error-Code", f.code)
		if f.after != "" {
			w.Header().Set("Retry-After", f.after)
		}
		w.WriteHeader(f.status)
		return f, true
	}
	return f, false
}

func (h *fakeHub) serveHub(w http.ResponseWriter, r *http.Request) {
	f, answered := h.misbehave(w, r)
	if answered {
		return
	}
	if h.token != "" && r.Header.Get("Authorization") != "Bearer "+h.token {
		w.Header().Set("X-Error-Code", "RepoNotFound")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	api := "/api/" + h.repo
	if !strings.HasPrefix(h.repo, "datasets/") {
		api = "/api/models/" + h.repo
	}
	p := r.URL.Path
	switch {
	case strings.HasPrefix(p, api+"/revision/"):
		var siblings []map[string]string
		for n := range h.files {
			siblings = append(siblings, map[string]string{"rfilename": n})
		}
		reply(w, map[string]any{"sha": commitA, "siblings": siblings})
	case strings.HasPrefix(p, api+"/tree/"):
		h.serveTree(w, r)
	case strings.HasPrefix(p, "/"+h.repo+"/resolve/"+commitA+"/"):
		h.serveFile(w, r, strings.TrimPrefix(p, "/"+h.repo+"/resolve/"+commitA+"/"), f)
	case r.Method == http.MethodPost:
		h.servePost(w, r, api)
	default:
		w.Header().Set("X-Error-Code", "RepoNotFound")
		w.WriteHeader(http.StatusNotFound)
	}
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

func (h *fakeHub) serveTree(w http.ResponseWriter, r *http.Request) {
	var names []string
	for n := range h.files {
		names = append(names, n)
	}
	sort.Strings(names)
	at, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
	if at+1 < len(names) {
		w.Header().Set("Link", fmt.Sprintf(`<%s%s?recursive=true&cursor=%d>; rel="next"`, h.hub.URL, r.URL.Path, at+1))
	}
	e := map[string]any{"type": "file", "path": names[at], "size": len(h.files[names[at]]), "oid": gitSHA1(h.files[names[at]])}
	if h.large[names[at]] {
		e["lfs"] = map[string]any{"oid": sha256Of(h.files[names[at]])}
	}
	reply(w, []any{map[string]any{"type": "directory", "path": "d"}, e})
}

func (h *fakeHub) serveFile(w http.ResponseWriter, r *http.Request, name string, f fault) {
	content, ok := h.files[name]
	if !ok {
		w.Header().Set("X-Error-Code", "EntryNotFound")
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("X-Repo-Commit", commitA)
	if h.large[name] {
		w.Header().Set("X-Linked-Etag", `"`+h.etag(name)+`"`)
		w.Header().Set("X-Linked-Size", strconv.Itoa(len(content)))
		http.Redirect(w, r, h.storage.URL+"/"+name+"?signed=1", http.StatusFound)
		return
	}
	w.Header().Set("ETag", `W/"`+h.etag(name)+`"`)
	serveContent(w, r, content, f)
}

func serveContent(w http.ResponseWriter, r *http.Request, content string, f fault) {
	if f.body != "" {
		content = f.body
	}
	from := 0
	if rg := r.Header.Get("Range"); rg != "" && f.announced >= 0 {
		fmt.Sscanf(rg, "bytes=%d-", &from)
		if from > len(content) {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
	}
	n := len(content) - from
	if f.announced > 0 {
		n = f.announced
	}
	w.Header().Set("Content-Length", strconv.Itoa(n))
	if from > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	if r.Method == http.MethodHead {
		return
	}
	if f.drop > 0 {
		io.WriteString(w, content[from:min(len(content), from+f.drop)])
		w.(http.Flusher).Flush()
		if f.hang {
			<-r.Context().Done()
		}
		panic(http.ErrAbortHandler)
	}
	io.WriteString(w, content[from:])
}

func (h *fakeHub) serveStorage(w http.ResponseWriter, r *http.Request) {
	f, answered := h.misbehave(w, r)
	if r.Header.Get("Authorization") != "" {
		h.t.Errorf("%s %s: the token went to the storage host", r.Method, r.URL.Path)
	}
	if answered {
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/")
	if r.Method != http.MethodPut {
		serveContent(w, r, h.files[name], f)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if oid, ok := strings.CutPrefix(name, "object/"); ok {
		h.stored[oid] = string(body)
	} else {
		h.parts[name] = string(body)
		w.Header().Set("ETag", `"`+name+`"`)
	}
}

func (h *fakeHub) servePost(w http.ResponseWriter, r *http.Request, api string) {
	raw, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	switch p := r.URL.Path; {
	case p == "/api/repos/create":
		h.created = string(raw)
		w.WriteHeader(http.StatusConflict)
	case p == api+"/preupload/main":
		var in struct {
			Files []struct {
				Path, Sample string
				Size         int64
			}
		}
		json.Unmarshal(raw, &in)
		var out []map[string]string
		for _, f := range in.Files {
			mode := "regular"
			if strings.HasSuffix(f.Path, ".safetensors") {
				mode = "lfs"
			}
			out = append(out, map[string]string{"path": f.Path, "uploadMode": mode})
		}
		reply(w, map[string]any{"files": out})
	case p == "/"+h.repo+".git/info/lfs/objects/batch":
		h.serveBatch(w, raw)
	case p == "/complete":
		var in struct {
			OID   string
			Parts []struct {
				PartNumber int
				ETag       string
			}
		}
		json.Unmarshal(raw, &in)
		for _, part := range in.Parts {
			h.stored[in.OID] += h.parts[strings.Trim(part.ETag, `"`)]
		}
		reply(w, map[string]any{})
	case p == "/verify":
		var in struct{ OID string }
		json.Unmarshal(raw, &in)
		if sha256Of(h.stored[in.OID]) != in.OID {
			w.WriteHeader(http.StatusBadRequest)
		}
	case p == api+"/commit/main":
		for _, line := range bytes.Split(bytes.TrimSpace(raw), []byte("\n")) {
			var l struct {
				Key   string
				Value struct{ Path, Content, OID, Summary string }
			}
			json.Unmarshal(line, &l)
			switch l.Key {
			case "header":
				h.committed["message"] = l.Value.Summary
			case "file":
				b, _ := base64.StdEncoding.DecodeString(l.Value.Content)
				h.committed[l.Value.Path] = string(b)
			case "lfsFile":
				h.committed[l.Value.Path] = h.stored[l.Value.OID]
			}
		}
		reply(w, map[string]any{"commitOid": commitA})
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (h *fakeHub) serveBatch(w http.ResponseWriter, raw []byte) {
	var in struct {
		Objects []struct {
			OID  string
			Size int64
		}
	}
	json.Unmarshal(raw, &in)
	var out []map[string]any
	for _, o := range in.Objects {
		obj := map[string]any{"oid": o.OID}
		if _, ok := h.stored[o.OID]; !ok {
			up := map[string]any{"href": h.storage.URL + "/object/" + o.OID}
			if h.chunk > 0 {
				header := map[string]string{"chunk_size": strconv.FormatInt(h.chunk, 10)}
				for i := int64(0); i*h.chunk < o.Size; i++ {
					header[fmt.Sprintf("%05d", i+1)] = fmt.Sprintf("%s/part-%s-%d", h.storage.URL, o.OID[:8], i+1)
				}
				up = map[string]any{"href": h.hub.URL + "/complete", "header": header}
			}
			obj["actions"] = map[string]any{"upload": up, "verify": map[string]any{"href": h.hub.URL + "/verify"}}
		}
		out = append(out, obj)
	}
	reply(w, map[string]any{"objects": out})
}
