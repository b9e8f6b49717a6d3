package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const hubCommit = "0123456789abcdef0123456789abcdef01234567"

// testHub is a hub with repositories of small files, by "models/org/name" or "datasets/org/name".
type testHub struct {
	t        *testing.T
	repos    map[string]map[string]string
	mu       sync.Mutex
	requests int
	uploaded map[string]string
	message  string
}

// newTestHub starts a hub and makes it the one of this test, with an empty cache.
func newTestHub(t *testing.T) *testHub {
	h := &testHub{t: t, repos: map[string]map[string]string{}, uploaded: map[string]string{}}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	for name, value := range map[string]string{"HF_ENDPOINT": server.URL, "HF_HOME": t.TempDir(), "HF_HUB_CACHE": "", "HUGGINGFACE_HUB_CACHE": "",
		"HF_TOKEN": "secret", "HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": ""} {
		t.Setenv(name, value)
	}
	return h
}

// add makes a repository of the files of a directory.
func (h *testHub) add(repo, dir string) {
	h.repos[repo] = map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range entries {
		h.repos[repo][e.Name()] = string(read(h.t, filepath.Join(dir, e.Name())))
	}
}

func gitHash(s string) string {
	sum := sha1.Sum([]byte(fmt.Sprintf("blob %d\x00%s", len(s), s)))
	return hex.EncodeToString(sum[:])
}

func (h *testHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests++
	answer := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(v); err != nil {
			h.t.Error(err)
		}
	}
	if r.Header.Get("Authorization") != "Bearer secret" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	for repo, files := range h.repos {
		web := "/" + strings.TrimPrefix(repo, "models/")
		switch p := r.URL.Path; {
		case strings.HasPrefix(p, "/api/"+repo+"/revision/"):
			var list []map[string]string
			for name := range files {
				list = append(list, map[string]string{"rfilename": name})
			}
			answer(map[string]any{"sha": hubCommit, "siblings": list})
			return
		case strings.HasPrefix(p, "/api/"+repo+"/tree/"):
			var list []map[string]any
			for name, text := range files {
				list = append(list, map[string]any{"type": "file", "path": name, "size": len(text), "oid": gitHash(text)})
			}
			answer(list)
			return
		case strings.HasPrefix(p, web+"/resolve/"+hubCommit+"/"):
			text, ok := files[strings.TrimPrefix(p, web+"/resolve/"+hubCommit+"/")]
			if !ok {
				break
			}
			w.Header().Set("X-Repo-Commit", hubCommit)
			w.Header().Set("ETag", `"`+gitHash(text)+`"`)
			w.Header().Set("Content-Length", fmt.Sprint(len(text)))
			if r.Method == http.MethodGet {
				_, _ = io.WriteString(w, text) // the client notices what is missing
			}
			return
		case p == "/api/"+repo+"/preupload/main":
			var in struct{ Files []struct{ Path string } }
			if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
				h.t.Error(err)
			}
			var list []map[string]string
			for _, f := range in.Files {
				list = append(list, map[string]string{"path": f.Path, "uploadMode": "regular"})
			}
			answer(map[string]any{"files": list})
			return
		case p == "/api/"+repo+"/commit/main":
			h.commit(r.Body)
			answer(map[string]any{"commitOid": hubCommit})
			return
		}
	}
	w.Header().Set("X-Error-Code", "RepoNotFound")
	w.WriteHeader(http.StatusNotFound)
}

// commit keeps what is uploaded.
func (h *testHub) commit(body io.Reader) {
	raw, err := io.ReadAll(body)
	if err != nil {
		h.t.Error(err)
	}
	for _, line := range bytes.Split(bytes.TrimSpace(raw), []byte("\n")) {
		var l struct {
			Key   string
			Value struct{ Path, Content, Summary string }
		}
		if err := json.Unmarshal(line, &l); err != nil {
			h.t.Error(err)
		}
		if l.Key == "header" {
			h.message = l.Value.Summary
			continue
		}
		text, err := base64.StdEncoding.DecodeString(l.Value.Content)
		if err != nil {
			h.t.Error(err)
		}
		h.uploaded[l.Value.Path] = string(text)
	}
}

// TestModelsAndDataFromTheHub uses org/name wherever a directory could stand, and then the cache alone.
func TestModelsAndDataFromTheHub(t *testing.T) {
	h := newTestHub(t)
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model := testModel(t)
	h.add("models/org/tiny", model)
	rows := sums(t, 8)
	h.repos["datasets/org/sums"] = map[string]string{"train.jsonl": string(read(t, rows)), "README.md": "sums"}
	t.Chdir(t.TempDir())

	local := must(t, "tokenize", "--model", model, "--text", "1+1")
	if got := must(t, "tokenize", "--model", "org/tiny@main", "--text", "1+1"); got != local {
		t.Errorf("tokenize: %s, with the directory %s", got, local)
	}
	local = must(t, "generate", "--model", model, "--prompt", "1+", "--max-new-tokens", "4")
	if got := must(t, "generate", "--model", "org/tiny", "--prompt", "1+", "--max-new-tokens", "4"); got != local {
		t.Errorf("generate: %s, with the directory %s", got, local)
	}
	train := []string{"sft", "--max-steps", "1", "--quiet", "--set", "max_length=40"}
	must(t, append(train, "--model", model, "--data", rows, "--output", "a")...)
	must(t, append(train, "--model", "org/tiny", "--data", "hf://org/sums/train.jsonl", "--output", "b")...)
	if a, b := read(t, "a/model.safetensors"), read(t, "b/model.safetensors"); !bytes.Equal(a, b) {
		t.Error("training on the hub's files gives other weights than on the same files")
	}
	if run := string(read(t, "b/run.yaml")); !strings.Contains(run, "model_name_or_path: org/tiny") || !strings.Contains(run, "hf://org/sums/train.jsonl") {
		t.Errorf("run.yaml does not say where model and data came from:\n%s", run)
	}
	if got := must(t, "data", "check", "--model", "org/tiny", "--data", "hf://datasets/org/sums"); !strings.Contains(got, "8 rows") {
		t.Errorf("data check: %s", got)
	}

	t.Setenv("HF_HUB_OFFLINE", "1")
	before := h.requests
	must(t, "tokenize", "--model", "org/tiny", "--text", "1+1")
	if h.requests != before {
		t.Error("offline, the hub was asked")
	}
	code, _, stderr := mltrain(t, "tokenize", "--model", "org/other", "--text", "x")
	if code != exitFailed || !strings.Contains(stderr, "offline and not in the cache") {
		t.Errorf("offline and not cached: exit code %d, %q", code, stderr)
	}
}

func TestModelReferencesThatAreNone(t *testing.T) {
	h := newTestHub(t)
	t.Chdir(t.TempDir())
	write(t, "file", "x")
	for ref, want := range map[string]string{
		"absent":         "no such directory",
		"./org/name":     "no such directory",
		"a/b/c":          "no such directory",
		"file":           "is a file",
		"hf://org":       "no hub reference",
		"runs/forgotten": "not found on the hub",
	} {
		code, _, stderr := mltrain(t, "tokenize", "--model", ref, "--text", "x")
		if code != exitFailed || !strings.Contains(stderr, want) {
			t.Errorf("--model %s: exit code %d, %q; want %q", ref, code, stderr, want)
		}
	}
	if h.requests == 0 {
		t.Error("the hub was not asked for runs/forgotten")
	}
}

func TestHubCommands(t *testing.T) {
	h := newTestHub(t)
	model := testModel(t)
	h.add("models/org/tiny", model)
	code, stdout, stderr := mltrain(t, "hub", "download", "org/tiny")
	dir := strings.TrimSpace(stdout)
	if code != 0 || !bytes.Equal(read(t, filepath.Join(dir, "config.json")), read(t, filepath.Join(model, "config.json"))) || filepath.Base(dir) != hubCommit {
		t.Errorf("download: exit code %d, %q", code, stdout)
	}
	if !strings.Contains(stderr, "model.safetensors: ") || !strings.Contains(stderr, "KiB in ") {
		t.Errorf("download tells nothing of the files: %q", stderr)
	}
	if code, _, stderr := mltrain(t, "hub", "download", "org/tiny", "--quiet"); code != 0 || stderr != "" {
		t.Errorf("again: exit code %d, %q", code, stderr)
	}
	t.Setenv("HF_HOME", t.TempDir())
	var got struct{ Path string }
	if err := json.Unmarshal([]byte(must(t, "hub", "download", "org/tiny", "--include", "*.json", "--exclude", "token*", "--json")), &got); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(got.Path); err != nil || len(entries) != 1 || entries[0].Name() != "config.json" {
		t.Errorf("chosen files: %v %v", entries, err)
	}
	if got := must(t, "hub", "ls", "org/tiny"); !strings.Contains(got, "  config.json\n") || !strings.Contains(got, "KiB") {
		t.Errorf("ls: %q", got)
	}
	var list struct{ Files []hubFile }
	if err := json.Unmarshal([]byte(must(t, "hub", "ls", "org/tiny", "--json")), &list); err != nil || len(list.Files) != 4 || len(list.Files[0].Hash) != 40 {
		t.Errorf("ls as JSON: %v %+v", err, list)
	}

	h.repos["models/me/mine"] = map[string]string{}
	if got := must(t, "hub", "upload", "me/mine", model, "--exclude", "*.safetensors", "--message", "first", "--quiet"); got != hubCommit+"\n" {
		t.Errorf("upload: %q", got)
	}
	if h.uploaded["config.json"] != string(read(t, filepath.Join(model, "config.json"))) || h.uploaded["model.safetensors"] != "" || h.message != "first" {
		t.Errorf("uploaded: %d files, message %q", len(h.uploaded), h.message)
	}

	for _, tc := range []struct {
		code int
		want string
		args []string
	}{
		{exitUsage, "takes 1 arguments", []string{"download"}},
		{exitUsage, "takes 2 arguments", []string{"upload", "me/mine"}},
		{exitUsage, "no hub reference", []string{"ls", "a/b/c"}},
		{exitUsage, "--create", []string{"upload", "me/mine", model, "--private"}},
		{exitFailed, "absent", []string{"upload", "me/mine", "absent"}},
		{exitFailed, "not found on the hub", []string{"download", "org/none"}},
		{exitFailed, "no such files", []string{"download", "org/tiny", "--include", "*.gguf"}},
	} {
		code, stdout, stderr := mltrain(t, append([]string{"hub"}, tc.args...)...)
		if code != tc.code || stdout != "" || !strings.Contains(stderr, tc.want) {
			t.Errorf("%q: exit code %d, %q", tc.args, code, stderr)
		}
	}
	t.Setenv("HF_TOKEN", "wrong")
	if code, _, stderr := mltrain(t, "hub", "ls", "org/tiny"); code != exitFailed || !strings.Contains(stderr, "the token is not valid") {
		t.Errorf("wrong token: exit code %d, %q", code, stderr)
	}
}
