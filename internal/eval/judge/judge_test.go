package judge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// server is an endpoint that misbehaves as it is told to.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	asked  int
	inside int
	most   int // requests at a time
	bodies []string
	// answer writes the answer to request number n, from 1, or returns a reply to write as a completion.
	answer func(w http.ResponseWriter, n int, prompt string) (reply string, done bool)
}

func newServer(t *testing.T, answer func(w http.ResponseWriter, n int, prompt string) (string, bool)) *server {
	s := &server{answer: answer}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Model    string
			Messages []chatMessage
		}
		err := json.NewDecoder(r.Body).Decode(&body)
		if r.URL.Path != "/v1/chat/completions" || err != nil || len(body.Messages) != 1 || body.Model != "m" {
			http.Error(w, "no such page", http.StatusNotFound)
			return
		}
		s.mu.Lock()
		s.asked++
		n := s.asked
		s.inside++
		s.most = max(s.most, s.inside)
		s.bodies = append(s.bodies, body.Messages[0].Content)
		s.mu.Unlock()
		reply, done := s.answer(w, n, body.Messages[0].Content)
		s.mu.Lock()
		s.inside--
		s.mu.Unlock()
		if !done {
			json.NewEncoder(w).Encode(map[string]any{
				"choices": []any{map[string]any{"message": map[string]any{"role": "assistant", "content": reply}}},
				"usage":   map[string]any{"prompt_tokens": 100, "completion_tokens": 10},
			})
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// client asks the server, and notes its pauses instead of waiting.
func (s *server) client(pauses *[]time.Duration) *Client {
	var mu sync.Mutex
	return &Client{Endpoint: s.URL + "/v1", Model: "m", Key: "sk-hidden", Attempts: 4, Timeout: 5 * time.Second,
		sleep: func(_ context.Context, d time.Duration) error {
			mu.Lock()
			defer mu.Unlock()
			if pauses != nil {
				*pauses = append(*pauses, d)
			}
			return nil
		}}
}

func rowsOf(n int) []Row {
	rows := make([]Row, n)
	for i := range rows {
		rows[i] = Row{Prompt: fmt.Sprintf("question %d", i), Response: fmt.Sprintf("answer %d", i), Pair: [2]string{fmt.Sprintf("left %d", i), fmt.Sprintf("right %d", i)}}
		rows[i].At.File, rows[i].At.Line = "rows.jsonl", i+1
	}
	return rows
}

func output(t *testing.T) string { return filepath.Join(t.TempDir(), "judged.jsonl") }

func TestRubric(t *testing.T) {
	s := newServer(t, func(_ http.ResponseWriter, _ int, prompt string) (string, bool) {
		if !strings.Contains(prompt, "be kind") || !strings.Contains(prompt, "from 1 (worst) to 5 (best)") {
			return "no rubric", false
		}
		if strings.Contains(prompt, "question 0\n") {
			return "Not [[1]], after some thought [[ 4 ]]", false
		}
		return "fine [[2]]", false
	})
	out := output(t)
	o := Options{Rubric: "be kind", Scale: 5, Output: out, PriceIn: 10, PriceOut: 100}
	sum, err := Run(t.Context(), s.client(nil), rowsOf(2), false, o)
	if err != nil {
		t.Fatal(err)
	}
	if sum.Score == nil || sum.Score.Mean != 3 || sum.Score.Stderr != 1 || sum.Usage != (Usage{200, 20}) || sum.Cost != 0.004 || sum.Failed != 0 {
		t.Errorf("%+v %+v", sum, sum.Score)
	}
	// Asked again, everything is there, and nothing is sent.
	again, err := Run(t.Context(), s.client(nil), rowsOf(2), false, o)
	if err != nil || again.Resumed != 2 || s.asked != 2 || again.Score.Mean != 3 || again.Usage != sum.Usage {
		t.Errorf("%+v, %v, %d requests", again, err, s.asked)
	}
	// Another rubric is another question.
	o.Rubric = "be kind, and brief"
	if _, err := Run(t.Context(), s.client(nil), rowsOf(2), false, o); err != nil || s.asked != 4 {
		t.Errorf("%v, %d requests", err, s.asked)
	}
}

func TestPairsAreAskedInBothOrders(t *testing.T) {
	s := newServer(t, func(_ http.ResponseWriter, _ int, prompt string) (string, bool) {
		leftFirst := strings.Index(prompt, "\nleft") < strings.Index(prompt, "\nright")
		better := map[bool]string{true: "[[A]]", false: "[[B]]"}
		switch {
		case strings.Contains(prompt, "question 0\n"): // left is better
			return better[leftFirst], false
		case strings.Contains(prompt, "question 1\n"): // whatever stands first is
			return "[[A]]", false
		case strings.Contains(prompt, "question 2\n"): // right, or neither
			if leftFirst {
				return "[[b]]", false
			}
			return "[[C]]", false
		}
		return "[[tie]]", false
	})
	sum, err := Run(t.Context(), s.client(nil), rowsOf(4), true, Options{Output: output(t)})
	if err != nil {
		t.Fatal(err)
	}
	if p := sum.Pairs; p == nil || p.WinsA != 1 || p.WinsB != 1 || p.Ties != 2 || p.WinRateA != 0.5 || p.Consistency != 0.5 {
		t.Errorf("%+v", p)
	}
	if s.asked != 8 {
		t.Errorf("%d requests for 4 pairs", s.asked)
	}
}

// A judge that is busy, breaks off, talks nonsense or is slow is asked again.
func TestRetries(t *testing.T) {
	for name, tc := range map[string]struct {
		misbehave func(w http.ResponseWriter) bool
		pause     time.Duration // at least
	}{
		"busy": {func(w http.ResponseWriter) bool { w.Header().Set("Retry-After", "7"); w.WriteHeader(429); return true }, 7 * time.Second},
		"busy until": {func(w http.ResponseWriter) bool {
			w.Header().Set("Retry-After", time.Now().Add(90*time.Second).UTC().Format(http.TimeFormat))
			w.WriteHeader(503)
			return true
		}, 80 * time.Second},
		"server":     {func(w http.ResponseWriter) bool { w.WriteHeader(500); return true }, 200 * time.Millisecond},
		"nonsense":   {func(w http.ResponseWriter) bool { w.Write([]byte("<html>")); return true }, 200 * time.Millisecond},
		"no choices": {func(w http.ResponseWriter) bool { w.Write([]byte(`{"choices":[]}`)); return true }, 200 * time.Millisecond},
		"null": {func(w http.ResponseWriter) bool {
			w.Write([]byte(`{"choices":[{"message":{"content":null}}]}`))
			return true
		}, 200 * time.Millisecond},
		"breaks off": {func(w http.ResponseWriter) bool {
			w.Header().Set("Content-Length", "1000")
			w.Write([]byte(`{"cho`))
			return true
		}, 200 * time.Millisecond},
		"hangs up": {func(w http.ResponseWriter) bool { c, _, _ := w.(http.Hijacker).Hijack(); c.Close(); return true }, 200 * time.Millisecond},
		"slow":     {func(w http.ResponseWriter) bool { time.Sleep(300 * time.Millisecond); return false }, 200 * time.Millisecond},
		"no verdict": {func(w http.ResponseWriter) bool {
			w.Write([]byte(`{"choices":[{"message":{"content":"hm"}}]}`))
			return true
		}, 200 * time.Millisecond},
		"out of range": {func(w http.ResponseWriter) bool {
			w.Write([]byte(`{"choices":[{"message":{"content":"[[11]]"}}]}`))
			return true
		}, 200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, func(w http.ResponseWriter, n int, _ string) (string, bool) {
				if n == 1 && tc.misbehave(w) {
					return "", true
				}
				return "[[8]]", false
			})
			var pauses []time.Duration
			c := s.client(&pauses)
			if name == "slow" {
				c.Timeout = 100 * time.Millisecond
			}
			sum, err := Run(t.Context(), c, rowsOf(1), false, Options{Output: output(t)})
			if err != nil || sum.Score == nil || sum.Score.Mean != 8 {
				t.Fatalf("%+v, %v", sum, err)
			}
			if len(pauses) != 1 || pauses[0] < tc.pause || s.asked != 2 {
				t.Errorf("%d requests, pauses %v, want one of at least %s", s.asked, pauses, tc.pause)
			}
		})
	}
}

// When the endpoint goes down, what was judged is kept, and the next run asks only for the rest.
func TestGoesOnAfterTheEndpointWasDown(t *testing.T) {
	down := true
	s := newServer(t, func(w http.ResponseWriter, n int, _ string) (string, bool) {
		if down && n > 3 {
			http.Error(w, "out of order", http.StatusBadGateway)
			return "", true
		}
		return "[[6]]", false
	})
	o := Options{Output: output(t), Concurrency: 1}
	_, err := Run(t.Context(), s.client(nil), rowsOf(10), false, o)
	if !errors.Is(err, ErrDown) {
		t.Fatalf("%v, want ErrDown", err)
	}
	for _, want := range []string{"after 4 attempts", "502", "out of order", "3 of 10 judgements are kept in " + o.Output} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %q", err, want)
		}
	}
	// The last line is torn, as by a machine that went down.
	raw, err := os.ReadFile(o.Output)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.Output, append(raw, `{"key":"half`...), 0o666); err != nil {
		t.Fatal(err)
	}
	down, s.asked = false, 0
	sum, err := Run(t.Context(), s.client(nil), rowsOf(10), false, o)
	if err != nil || sum.Resumed != 3 || s.asked != 7 || sum.Score.Mean != 6 || sum.Usage.PromptTokens != 1000 {
		t.Errorf("%+v, %v, %d requests", sum, err, s.asked)
	}
	if raw, err = os.ReadFile(o.Output); err != nil || strings.Count(string(raw), "\n") != 10 || strings.Contains(string(raw), "half") {
		t.Errorf("%v:\n%s", err, raw)
	}
}

func TestEndpointThatIsNotThere(t *testing.T) {
	s := newServer(t, nil)
	c := s.client(nil)
	s.Close()
	if _, err := Run(t.Context(), c, rowsOf(1), false, Options{Output: output(t)}); !errors.Is(err, ErrDown) {
		t.Errorf("%v, want ErrDown", err)
	}
}

// What asking again cannot mend ends the run at once, or only concerns a row. The key is never shown.
func TestRefusals(t *testing.T) {
	for code, want := range map[int]error{401: ErrRefused, 403: ErrRefused, 404: ErrRefused, 402: ErrRefused} {
		s := newServer(t, func(w http.ResponseWriter, _ int, _ string) (string, bool) {
			http.Error(w, "bad key sk-hidden", code)
			return "", true
		})
		_, err := Run(t.Context(), s.client(nil), rowsOf(5), false, Options{Output: output(t), Concurrency: 1})
		if !errors.Is(err, want) || s.asked != 1 {
			t.Errorf("%d: %v after %d requests", code, err, s.asked)
		}
		if err != nil && (strings.Contains(err.Error(), "sk-hidden") || !strings.Contains(err.Error(), "bad key ***")) {
			t.Errorf("%d: %v", code, err)
		}
	}
	s := newServer(t, func(w http.ResponseWriter, _ int, prompt string) (string, bool) {
		if strings.Contains(prompt, "question 1\n") {
			http.Error(w, "context too long", http.StatusBadRequest)
			return "", true
		}
		if strings.Contains(prompt, "question 2\n") {
			return "I would rather not say", false
		}
		return "[[6]]", false
	})
	out := output(t)
	sum, err := Run(t.Context(), s.client(nil), rowsOf(4), false, Options{Output: out, Concurrency: 1})
	if err != nil || sum.Failed != 2 || sum.Score.Mean != 6 {
		t.Fatalf("%+v, %v", sum, err)
	}
	all := strings.Join(sum.Errors, "\n")
	for _, want := range []string{"rows.jsonl:2", "context too long", "rows.jsonl:3", "no verdict", "rather not say"} {
		if !strings.Contains(all, want) {
			t.Errorf("%s\nlacks %q", all, want)
		}
	}
	if s.asked != 1+1+3+1 {
		t.Errorf("%d requests", s.asked)
	}
}

func TestConcurrency(t *testing.T) {
	s := newServer(t, func(http.ResponseWriter, int, string) (string, bool) {
		time.Sleep(30 * time.Millisecond)
		return "[[5]]", false
	})
	steps := 0
	o := Options{Output: output(t), Concurrency: 4, Progress: func(done, total int) {
		if done != steps || total != 12 {
			t.Errorf("progress %d of %d after %d", done, total, steps)
		}
		steps++
	}}
	if _, err := Run(t.Context(), s.client(nil), rowsOf(12), false, o); err != nil {
		t.Fatal(err)
	}
	if s.most < 2 || s.most > 4 || steps != 13 {
		t.Errorf("%d requests at a time, %d steps", s.most, steps)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := newServer(t, func(_ http.ResponseWriter, n int, _ string) (string, bool) {
		if n == 3 {
			cancel()
		}
		return "[[5]]", false
	})
	if _, err := Run(ctx, s.client(nil), rowsOf(20), false, Options{Output: output(t), Concurrency: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want canceled", err)
	}
}

func TestBadInput(t *testing.T) {
	for endpoint := range map[string]bool{"": true, "localhost:80": true, "ftp://x/v1": true} {
		c := &Client{Endpoint: endpoint, Model: "m"}
		if _, err := Run(t.Context(), c, rowsOf(1), false, Options{Output: output(t)}); err == nil || !strings.Contains(err.Error(), "no http or https address") {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
	other := output(t)
	if err := os.WriteFile(other, []byte("{\"text\":\"mine\"}\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	c := &Client{Endpoint: "http://localhost/v1", Model: "m"}
	if _, err := Run(t.Context(), c, rowsOf(1), false, Options{Output: other}); err == nil || !strings.Contains(err.Error(), ":1: is no judgement") {
		t.Errorf("%v", err)
	}
	path := filepath.Join(t.TempDir(), "rows.jsonl")
	text := `{"prompt":"p","response":"r","reference":"x"}
{"prompt":"p"}
{"response":["r"],"prompt":"p"}`
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	_, _, err := ReadRows(path, 0)
	for _, want := range []string{":2: the key response is missing", ":3: response: expected text"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	rows, pairs, err := ReadRows(path, 1)
	if err != nil || pairs || len(rows) != 1 || rows[0].Reference != "x" {
		t.Errorf("%+v, %v, %v", rows, pairs, err)
	}
}
