package hub

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"
)

// Ref names a repository of the hub, a revision of it, and maybe a path in it.
type Ref struct {
	Type     string // "model" or "dataset"
	Repo     string // "org/name"
	Revision string // branch, tag or commit; "main" when none was given
	Path     string // file, folder or pattern within it, or ""
}

var repoName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)?$`)

// ParseRef reads org/name[@revision] (a model), hf://org/name[@revision][/path] (a model's files) and
// hf://datasets/org/name[@revision][/path], where a slash within a revision is written %2F.
func ParseRef(s string) (Ref, error) {
	bad := func(why string) (Ref, error) {
		return Ref{}, fmt.Errorf("%q is no hub reference: %s; write org/name, org/name@revision or hf://datasets/org/name/file", s, why)
	}
	r := Ref{Type: "model", Revision: "main"}
	rest, isURL := strings.CutPrefix(s, "hf://")
	if isURL {
		if after, ok := strings.CutPrefix(rest, "datasets/"); ok {
			r.Type, rest = "dataset", after
		} else {
			rest = strings.TrimPrefix(rest, "models/")
		}
	}
	rev, hasRev := "", false
	if isURL {
		parts := strings.SplitN(rest, "/", 3)
		if len(parts) < 2 || strings.Contains(parts[0], "@") {
			return bad("it needs an organisation and a name")
		}
		parts[1], rev, hasRev = strings.Cut(parts[1], "@")
		r.Repo = parts[0] + "/" + parts[1]
		if len(parts) == 3 {
			r.Path = strings.Trim(parts[2], "/")
		}
	} else {
		r.Repo, rev, hasRev = strings.Cut(rest, "@")
	}
	if r.Path != "" && !safePath(r.Path) {
		return bad("the path leaves the repository")
	}
	if hasRev {
		plain, err := url.PathUnescape(rev)
		if err != nil || !safePath(plain) || strings.Contains(plain, "..") {
			return bad("the revision after @ is empty or malformed")
		}
		r.Revision = plain
	}
	switch org, _, _ := strings.Cut(r.Repo, "/"); org {
	case "datasets", "models", "spaces":
		return bad("'" + org + "' is no organisation")
	}
	if !repoName.MatchString(r.Repo) || strings.Contains(r.Repo, "--") || strings.Contains(r.Repo, "..") || len(r.Repo) > 96 {
		return bad("names are letters, digits, '-', '_' and '.', at most 96 characters, without '--' or '..'")
	}
	return r, nil
}

// String writes the reference as ParseRef reads it.
func (r Ref) String() string {
	s := r.Repo
	if r.Revision != "main" {
		s += "@" + url.PathEscape(r.Revision)
	}
	if r.Type == "dataset" {
		s = "hf://datasets/" + s
	} else if r.Path != "" {
		s = "hf://" + s
	}
	if r.Path != "" {
		s += "/" + r.Path
	}
	return s
}

// folder is the repository's name in the cache.
func (r Ref) folder() string { return r.Type + "s--" + strings.ReplaceAll(r.Repo, "/", "--") }

// api is the path of the repository in the API.
func (r Ref) api() string { return "/api/" + r.Type + "s/" + r.Repo }

// web is the path of the repository's own pages and files.
func (r Ref) web() string {
	if r.Type == "dataset" {
		return "/datasets/" + r.Repo
	}
	return "/" + r.Repo
}

// escapePath escapes each part of a file's path for a URL.
func escapePath(p string) string {
	parts := strings.Split(p, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

// safePath reports whether a file name from a server stays inside the folder it is put into.
func safePath(p string) bool {
	return p != "" && path.Clean(p) == p && !strings.HasPrefix(p, "/") && p != ".." && !strings.HasPrefix(p, "../") &&
		!strings.ContainsAny(p, "\\:\x00")
}
