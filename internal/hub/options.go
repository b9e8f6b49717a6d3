package hub

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Options say where the hub and the cache are and what to fetch. FromEnv gives the user's settings.
type Options struct {
	Endpoint string // base URL, e.g. https://huggingface.co
	CacheDir string // the folder that holds models--org--name
	Token    string // access token, or ""
	Offline  bool   // never ask the network

	Include     []string // file patterns to fetch (path.Match on the whole path or the base name); empty: what Resolve chooses
	Exclude     []string // file patterns to leave out
	Concurrency int      // files at a time (default 4)
	Attempts    int      // tries of a request that makes no progress (default 5)
	Progress    Progress // told about each file, or nil
	Client      *http.Client

	sleep func(time.Duration) <-chan time.Time // tests do not wait
	stall time.Duration
}

// Progress is told how files come in (or go out). Its methods are called from several goroutines.
type Progress interface {
	Start(file string, total, done int64) // total is -1 when unknown; done bytes are there already
	Advance(file string, n int64)         // n more bytes; negative when some must be fetched again
	Finish(file string, err error)
}

const defaultEndpoint = "https://huggingface.co"

// FromEnv reads the variables that huggingface_hub reads: HF_ENDPOINT, HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, HF_TOKEN
// (else the token file of `hf auth login`, at HF_TOKEN_PATH or in HF_HOME) and HF_HUB_OFFLINE. getenv is os.Getenv.
func FromEnv(getenv func(string) string) Options {
	first := func(names ...string) string {
		for _, n := range names {
			if v := strings.TrimSpace(getenv(n)); v != "" {
				return v
			}
		}
		return ""
	}
	home := expand(first("HF_HOME"), getenv)
	if home == "" {
		base := expand(first("XDG_CACHE_HOME"), getenv)
		if base == "" {
			base = expand("~/.cache", getenv)
		}
		home = filepath.Join(base, "huggingface")
	}
	o := Options{
		Endpoint: strings.TrimRight(first("HF_ENDPOINT"), "/"),
		CacheDir: expand(first("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"), getenv),
		Token:    first("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
		Offline:  isTrue(first("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")),
	}
	if o.Endpoint == "" {
		o.Endpoint = defaultEndpoint
	}
	if o.CacheDir == "" {
		o.CacheDir = filepath.Join(home, "hub")
	}
	if o.Token == "" && !isTrue(first("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
		path := expand(first("HF_TOKEN_PATH"), getenv)
		if path == "" {
			path = filepath.Join(home, "token")
		}
		if b, err := os.ReadFile(path); err == nil {
			o.Token = strings.TrimSpace(string(b))
		}
	}
	return o
}

func isTrue(s string) bool {
	switch strings.ToUpper(s) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

// expand resolves $VAR and a leading ~.
func expand(path string, getenv func(string) string) string {
	path = os.Expand(path, getenv)
	if path == "~" || strings.HasPrefix(path, "~/") {
		path = filepath.Join(getenv("HOME"), path[1:])
	}
	return path
}
