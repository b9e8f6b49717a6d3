package hub

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func modelFiles() map[string]string {
	return map[string]string{
		"config.json":                      `{"model_type":"llama"}`,
		"tokenizer.json":                   `{}`,
		"tokenizer_config.json":            `{"a":1}`,
		"model-00001-of-00002.safetensors": strings.Repeat("weights one ", 5000),
		"model-00002-of-00002.safetensors": strings.Repeat("weights two ", 3000),
		"model.safetensors.index.json":     `{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}`,
		"pytorch_model.bin":                "old form",
		"pytorch_model.bin.index.json":     `{"weight_map":{"a":"pytorch_model-1.bin"}}`,
		"README.md":                        "# read me",
		"onnx/model.onnx":                  "other program",
		"1_Pooling/config.json":            `{"pooling":1}`,
	}
}

// tree reads a folder: name to content, with the target of a link before it.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		if target, err := os.Readlink(p); err == nil {
			out[rel] = "-> " + target
			return nil
		}
		b, err := os.ReadFile(p)
		out[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

const big = "model-00001-of-00002.safetensors"

func TestLayout(t *testing.T) {
	h := newFakeHub(t, "org/name", modelFiles())
	h.token = "hf_secret"
	o := h.options()
	dir, err := Resolve(context.Background(), "org/name", o)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(o.CacheDir, "models--org--name", "snapshots", commitA); dir != want {
		t.Errorf("got %s, want %s", dir, want)
	}
	want := map[string]string{filepath.Join("models--org--name", "refs", "main"): commitA}
	for name, content := range h.files {
		switch name {
		case "README.md", "onnx/model.onnx", "pytorch_model.bin", "pytorch_model.bin.index.json":
			continue
		}
		up := strings.Repeat("../", 2+strings.Count(name, "/"))
		want[filepath.Join("models--org--name", "snapshots", commitA, name)] = "-> " + up + "blobs/" + h.etag(name)
		want[filepath.Join("models--org--name", "blobs", h.etag(name))] = content
		want[filepath.Join(".locks", "models--org--name", h.etag(name)+".lock")] = ""
	}
	if diff := cmp.Diff(want, tree(t, o.CacheDir)); diff != "" {
		t.Error(diff)
	}
	// A second time only the revision is asked for; offline, nothing; with the hub away, the cache serves.
	before := h.count("")
	if _, err := Resolve(context.Background(), "org/name", o); err != nil || h.count("") != before+1 {
		t.Errorf("%d requests for what is cached, %v", h.count("")-before, err)
	}
	h.hub.Close()
	if again, err := Resolve(context.Background(), "org/name", o); err != nil || again != dir {
		t.Errorf("hub away: %s %v", again, err)
	}
	o.Offline = true
	for _, ref := range []string{"org/name", "org/name@" + commitA} {
		if again, err := Resolve(context.Background(), ref, o); err != nil || again != dir {
			t.Errorf("offline: %s %v", again, err)
		}
	}
	if file, err := Resolve(context.Background(), "hf://org/name/config.json", o); err != nil || file != filepath.Join(dir, "config.json") {
		t.Errorf("offline file: %s %v", file, err)
	}
	if err := os.Remove(filepath.Join(dir, big)); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"org/name", "org/other", "org/name@v2"} {
		if got, err := Resolve(context.Background(), ref, o); !errors.Is(err, ErrOffline) {
			t.Errorf("offline %s: %s %v", ref, got, err)
		}
	}
}

// TestMisbehaviour: every fault that passes ends in the right file, and none leaves a wrong one.
func TestMisbehaviour(t *testing.T) {
	content := modelFiles()[big]
	get, head := "GET /"+big, "HEAD /org/name/resolve/"+commitA+"/"+big
	info := "GET /api/models/org/name/revision/main"
	many := func(f fault, n int) []fault {
		out := make([]fault, n)
		for i := range out {
			out[i] = f
		}
		return out
	}
	for _, c := range []struct {
		name   string
		faults map[string][]fault
		err    error
		log    []string // lines that must occur
	}{
		{"dropped body", map[string][]fault{get: {{drop: 1000}, {drop: 500}}}, nil, []string{get + " bytes=1000-", get + " bytes=1500-"}},
		{"standing still", map[string][]fault{get: {{drop: 1000, hang: true}}}, nil, []string{get + " bytes=1000-"}},
		{"dropped many times, with progress", map[string][]fault{get: many(fault{drop: 1000}, 12)}, nil, []string{get + " bytes=12000-"}},
		{"dropped without progress", map[string][]fault{get: many(fault{noBody: true}, 50)}, ErrUnavailable, nil},
		{"dropped before the answer", map[string][]fault{get: {{noBody: true}}, head: {{noBody: true}}, info: {{noBody: true}}}, nil, nil},
		{"5xx", map[string][]fault{get: {{status: 503}, {status: 500}}, head: {{status: 502}}, info: {{status: 504}}}, nil, []string{"sleep 1s", "sleep 2s"}},
		{"5xx without end", map[string][]fault{info: many(fault{status: 503}, 50)}, ErrUnavailable, []string{"sleep 8s"}},
		{"429", map[string][]fault{get: {{status: 429, after: "7"}}, head: {{status: 429, after: "3"}}}, nil, []string{"sleep 7s", "sleep 3s"}},
		{"429 for an hour", map[string][]fault{head: {{status: 429, after: "3600"}}}, ErrUnavailable, nil},
		{"truncated body", map[string][]fault{get: {{body: content[:700]}}}, nil, []string{get + " bytes=700-"}},
		{"too long a body", map[string][]fault{get: {{body: content + "xx"}}}, nil, nil},
		{"no range on resume", map[string][]fault{get: {{drop: 1000}, {announced: -1}}}, nil, []string{get + " bytes=1000-"}},
		{"wrong content", map[string][]fault{get: many(fault{body: strings.Repeat("x", len(content))}, 50)}, ErrCorrupt, nil},
		{"401", map[string][]fault{info: {{status: 401, code: "RepoNotFound"}}}, ErrUnauthorized, nil},
		{"403 gated", map[string][]fault{head: {{status: 403, code: "GatedRepo"}}}, ErrGated, nil},
		{"403", map[string][]fault{info: {{status: 403}}}, ErrUnauthorized, nil},
		{"404 repository", map[string][]fault{info: {{status: 404, code: "RepoNotFound"}}}, ErrNotFound, nil},
		{"404 revision", map[string][]fault{info: {{status: 404, code: "RevisionNotFound"}}}, ErrNotFound, nil},
		{"404 file", map[string][]fault{head: {{status: 404, code: "EntryNotFound"}}}, ErrNotFound, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newFakeHub(t, "org/name", modelFiles())
			for k, v := range c.faults {
				h.faults[k] = v
			}
			o := h.options()
			o.Include = []string{"*.safetensors", "config.json"}
			if c.name == "standing still" {
				o.stall = 100 * time.Millisecond
			}
			dir, err := Resolve(context.Background(), "org/name", o)
			if !errors.Is(err, c.err) {
				t.Fatalf("got %v, want %v", err, c.err)
			}
			for _, l := range c.log {
				if !h.has(l) {
					t.Errorf("no %q in %q", l, h.log)
				}
			}
			if c.err != nil {
				if _, err := os.Stat(filepath.Join(o.CacheDir, "models--org--name", "snapshots", commitA, big)); err == nil {
					t.Error("the file is there all the same")
				}
				// Once the hub behaves, all is well.
				h.mu.Lock()
				h.faults = map[string][]fault{}
				h.mu.Unlock()
				if dir, err = Resolve(context.Background(), "org/name", o); err != nil {
					t.Fatal(err)
				}
			}
			b, err := os.ReadFile(filepath.Join(dir, big))
			if err != nil || string(b) != content {
				t.Errorf("wrong content after %s: %d bytes, %v", c.name, len(b), err)
			}
			if left, _ := filepath.Glob(filepath.Join(o.CacheDir, "models--org--name", "blobs", "*.incomplete")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestResume: a later run goes on with what an earlier one left, unless that is wrong.
func TestResume(t *testing.T) {
	content := modelFiles()[big]
	for _, c := range []struct{ name, left, first string }{
		{"right beginning", content[:4321], "bytes=4321-"},
		{"wrong beginning", strings.Repeat("?", 4321), "bytes=4321-"},
		{"complete", content, ""},
		{"too long", content + "more", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newFakeHub(t, "org/name", modelFiles())
			o := h.options()
			blob := filepath.Join(o.CacheDir, "models--org--name", "blobs", h.etag(big))
			if err := os.MkdirAll(filepath.Dir(blob), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(blob+".incomplete", []byte(c.left), 0o644); err != nil {
				t.Fatal(err)
			}
			file, err := Resolve(context.Background(), "hf://org/name/"+big, o)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := os.ReadFile(file); err != nil || string(b) != content {
				t.Errorf("%d bytes, %v", len(b), err)
			}
			if c.first != "" && !h.has("GET /"+big+" "+c.first) {
				t.Errorf("did not go on: %q", h.log)
			}
			if c.name == "complete" && h.has("GET /"+big) {
				t.Error("fetched what was there")
			}
		})
	}
}

func TestDataset(t *testing.T) {
	h := newFakeHub(t, "datasets/org/set", map[string]string{
		"data/train a.jsonl": "{}\n", "data/test.jsonl.gz": "x", "README.md": "r", "other.parquet": "p"})
	o := h.options()
	for ref, want := range map[string][]string{
		"hf://datasets/org/set/data/train%20a.jsonl": nil,
		"hf://datasets/org/set/data/train a.jsonl":   {"data/train a.jsonl"},
		"hf://datasets/org/set/data":                 {"data/test.jsonl.gz", "data/train a.jsonl"},
		"hf://datasets/org/set/data/*.gz":            {"data/test.jsonl.gz"},
		"hf://datasets/org/set":                      {"data/test.jsonl.gz", "data/train a.jsonl", "other.parquet"},
	} {
		o.CacheDir = t.TempDir()
		path, err := Resolve(context.Background(), ref, o)
		if want == nil {
			if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "other.parquet") {
				t.Errorf("%s: %v", ref, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", ref, err)
			continue
		}
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
		var got []string
		for name := range tree(t, filepath.Join(o.CacheDir, "datasets--org--set", "snapshots", commitA)) {
			got = append(got, filepath.ToSlash(name))
		}
		sort.Strings(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", ref, diff)
		}
	}
}

type recorder struct {
	mu   sync.Mutex
	sum  map[string]int64
	done map[string]error
}

func (r *recorder) Start(file string, total, done int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sum[file] = done
}
func (r *recorder) Advance(file string, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sum[file] += n
}
func (r *recorder) Finish(file string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done[file] = err
}

func newRecorder() *recorder { return &recorder{sum: map[string]int64{}, done: map[string]error{}} }

func TestProgress(t *testing.T) {
	h := newFakeHub(t, "org/name", modelFiles())
	h.faults["GET /"+big] = []fault{{drop: 1000}, {announced: -1}}
	o := h.options()
	p := newRecorder()
	o.Progress = p
	if _, err := Resolve(context.Background(), "org/name", o); err != nil {
		t.Fatal(err)
	}
	if len(p.done) != 7 {
		t.Errorf("%d files finished: %v", len(p.done), p.done)
	}
	for f, err := range p.done {
		if n := int64(len(h.files[f])); err != nil || p.sum[f] != n {
			t.Errorf("%s: %d of %d bytes, %v", f, p.sum[f], n, err)
		}
	}
}

// TestConcurrentResolves: several at once share the work and the result.
func TestConcurrentResolves(t *testing.T) {
	h := newFakeHub(t, "org/name", modelFiles())
	o := h.options()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := Resolve(context.Background(), "org/name", o); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := h.count("GET /" + big); n != 1 {
		t.Errorf("%s was fetched %d times", big, n)
	}
}

func TestCancel(t *testing.T) {
	h := newFakeHub(t, "org/name", modelFiles())
	o := h.options()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Resolve(ctx, "org/name", o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestHostileServer: names that lead out of the cache are refused.
func TestHostileServer(t *testing.T) {
	for _, name := range []string{"../../evil.json", "/etc/x.json", "a/../../b.json", `a\b.json`} {
		h := newFakeHub(t, "org/name", map[string]string{name: "x", "config.json": "{}"})
		if _, err := Resolve(context.Background(), "org/name", h.options()); err == nil {
			t.Errorf("%q accepted", name)
		}
	}
}

func TestParseRef(t *testing.T) {
	for s, want := range map[string]Ref{
		"org/name":                             {"model", "org/name", "main", ""},
		"gpt2":                                 {"model", "gpt2", "main", ""},
		"org/name@v1.0":                        {"model", "org/name", "v1.0", ""},
		"org/name@refs%2Fpr%2F1":               {"model", "org/name", "refs/pr/1", ""},
		"org/name@refs/pr/1":                   {"model", "org/name", "refs/pr/1", ""},
		"hf://org/name/a/b.jsonl":              {"model", "org/name", "main", "a/b.jsonl"},
		"hf://datasets/org/name@x/a/b.jsonl":   {"dataset", "org/name", "x", "a/b.jsonl"},
		"hf://datasets/org/name/data/*.jsonl":  {"dataset", "org/name", "main", "data/*.jsonl"},
		"hf://datasets/org/name@refs%2Fpr%2F1": {"dataset", "org/name", "refs/pr/1", ""},
	} {
		got, err := ParseRef(s)
		if err != nil || got != want {
			t.Errorf("%s: %+v %v", s, got, err)
		}
		if back, err := ParseRef(got.String()); err != nil || back != want {
			t.Errorf("%s: written as %s, read as %+v, %v", s, got, back, err)
		}
	}
	for _, s := range []string{"", "a/b/c", "org/", "/name", "./dir", "../x", "org/na me", "org/a--b", "org/name@", "org/name@../x",
		"hf://", "hf://org", "hf://datasets/org", "hf://org/name/../x", "datasets/x", "hf://spaces/x/y", "a..b", strings.Repeat("x", 97)} {
		if got, err := ParseRef(s); err == nil {
			t.Errorf("%q read as %+v", s, got)
		}
	}
}

func FuzzParseRef(f *testing.F) {
	for _, s := range []string{"org/name@v1", "hf://datasets/org/name@refs%2Fpr%2F1/a/*.jsonl", "hf://a/b/../c", "a@%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRef(s)
		if err != nil {
			return
		}
		if strings.Contains(r.folder(), "/") || strings.Contains(r.Revision, "..") || (r.Path != "" && !safePath(r.Path)) {
			t.Errorf("%q leaves the cache: %+v", s, r)
		}
		if back, err := ParseRef(r.String()); err != nil || back != r {
			t.Errorf("%q: %+v is written %q and read %+v, %v", s, r, r.String(), back, err)
		}
	})
}

func TestChoose(t *testing.T) {
	ref := Ref{Type: "model", Repo: "o/n", Revision: "main"}
	for _, c := range []struct {
		files, include, exclude, want string
	}{
		{"config.json model.safetensors pytorch_model.bin x.md", "", "", "config.json model.safetensors"},
		{"config.json pytorch_model.bin training_args.bin optimizer.pt", "", "", "config.json pytorch_model.bin"},
		{"params.json consolidated.00.pth tokenizer.model", "", "", "consolidated.00.pth params.json tokenizer.model"},
		{"config.json consolidated.safetensors model-00001-of-00001.safetensors model.safetensors.index.json", "", "",
			"config.json model-00001-of-00001.safetensors model.safetensors.index.json"},
		{"adapter_config.json adapter_model.safetensors chat_template.jinja", "", "", "adapter_config.json adapter_model.safetensors chat_template.jinja"},
		{"vocab.txt merges.txt notes.txt vocab.json config.json", "", "", "config.json merges.txt vocab.json vocab.txt"},
		{"a.json b.json d/c.json", "*.json", "b.*", "a.json d/c.json"},
		{"a.json d/c.json", "d/*", "", "d/c.json"},
	} {
		got, err := choose(ref, Options{Include: strings.Fields(c.include), Exclude: strings.Fields(c.exclude)}, strings.Fields(c.files))
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v %v", c.files, got, err)
		}
	}
}

func TestFromEnv(t *testing.T) {
	home := t.TempDir()
	for _, p := range []string{"token", ".cache/huggingface/token"} {
		path := filepath.Join(home, p)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("from "+p+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	def := filepath.Join(home, ".cache/huggingface/hub")
	for _, c := range []struct {
		env  map[string]string
		want Options
	}{
		{nil, Options{Endpoint: defaultEndpoint, CacheDir: def, Token: "from .cache/huggingface/token"}},
		{map[string]string{"HF_ENDPOINT": "http://mirror/", "HF_HOME": "~", "HF_HUB_OFFLINE": "1"},
			Options{Endpoint: "http://mirror", CacheDir: filepath.Join(home, "hub"), Token: "from token", Offline: true}},
		{map[string]string{"HF_TOKEN": "t", "HF_HUB_CACHE": "/c", "HF_HOME": "/h"}, Options{Endpoint: defaultEndpoint, CacheDir: "/c", Token: "t"}},
		{map[string]string{"XDG_CACHE_HOME": "$HOME/xdg", "HF_HUB_OFFLINE": "0"}, Options{Endpoint: defaultEndpoint, CacheDir: filepath.Join(home, "xdg/huggingface/hub")}},
		{map[string]string{"HF_HUB_DISABLE_IMPLICIT_TOKEN": "true"}, Options{Endpoint: defaultEndpoint, CacheDir: def}},
		{map[string]string{"HF_TOKEN_PATH": "~/token"}, Options{Endpoint: defaultEndpoint, CacheDir: def, Token: "from token"}},
	} {
		got := FromEnv(func(name string) string {
			if name == "HOME" {
				return home
			}
			return c.env[name]
		})
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(Options{})); diff != "" {
			t.Errorf("%v: %s", c.env, diff)
		}
	}
}

func TestList(t *testing.T) {
	h := newFakeHub(t, "datasets/org/set", map[string]string{"a.json": "12", "d/b.bin": "345", "d/c.json": ""})
	got, err := List(context.Background(), "hf://datasets/org/set/d", h.options())
	want := []Entry{{"d/b.bin", 3, sha256Of("345"), true}, {"d/c.json", 0, gitSHA1(""), false}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if all, err := List(context.Background(), "hf://datasets/org/set", h.options()); err != nil || len(all) != 3 {
		t.Errorf("%v %v", all, err)
	}
}

func TestUpload(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{"config.json": "{}", "model.safetensors": strings.Repeat("w", 1000), "copy.safetensors": strings.Repeat("w", 1000),
		"sub/x.txt": "x", "empty.safetensors": "", ".git/config": "no", "half.tmp": "no", "skip.log": "no"}
	for name, content := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	object := "PUT /object/" + sha256Of(files["model.safetensors"])
	for _, c := range []struct {
		name   string
		chunk  int64
		faults map[string][]fault
	}{
		{"one piece", 0, nil},
		{"parts", 300, nil},
		{"storage fails twice", 0, map[string][]fault{object: {{status: 503}, {noBody: true}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newFakeHub(t, "org/name", nil)
			h.token, h.chunk = "hf_write", c.chunk
			for k, v := range c.faults {
				h.faults[k] = v
			}
			o := h.options()
			o.Exclude = []string{"*.log"}
			p := newRecorder()
			o.Progress = p
			commit, err := Upload(context.Background(), "org/name", dir, o, UploadOptions{Message: "new", Create: true, Private: true})
			if err != nil || commit != commitA {
				t.Fatal(commit, err)
			}
			want := map[string]string{"message": "new"}
			for name, content := range files {
				if !strings.HasPrefix(name, ".git") && !strings.HasSuffix(name, ".tmp") && !strings.HasSuffix(name, ".log") {
					want[name] = content
				}
			}
			if diff := cmp.Diff(want, h.committed); diff != "" {
				t.Error(diff)
			}
			if !strings.Contains(h.created, `"organization":"org"`) || !strings.Contains(h.created, `"private":true`) {
				t.Errorf("created %s", h.created)
			}
			for f, n := range p.sum {
				if n != 1000 || p.done[f] != nil {
					t.Errorf("%s: %d bytes, %v", f, n, p.done[f])
				}
			}
			if len(p.sum) != 1 {
				t.Errorf("equal contents go up once: %v", p.sum)
			}
		})
	}
	o := newFakeHub(t, "org/name", nil).options()
	if _, err := Upload(context.Background(), "org/name", dir, o, UploadOptions{}); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("without a token: %v", err)
	}
}
