// Package judge lets a language model behind an OpenAI-compatible endpoint
// judge answers: by a rubric, or which of two is better.
package judge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Errors to branch on.
var (
	ErrDown    = errors.New("the judge does not answer") // after all attempts
	ErrRefused = errors.New("the judge refuses")         // wrong key, unknown model, wrong address
	errRow     = errors.New("the judge cannot take this row")
)

const (
	maxAnswer = 8 << 20          // bytes of an answer
	maxWait   = 10 * time.Minute // the longest Retry-After that is waited out
)

// Client asks an endpoint's chat completions.
type Client struct {
	Endpoint string        // base address, e.g. http://localhost:8000/v1
	Model    string        // name of the model there
	Key      string        // API key; "" sends none
	Attempts int           // tries of a request; 0 is 6
	Timeout  time.Duration // of one try; 0 is two minutes
	// MaxTokens bounds a reply; 0 is 1024.
	MaxTokens int

	HTTP  *http.Client                                     // nil is http.DefaultClient
	sleep func(ctx context.Context, d time.Duration) error // nil waits
}

// Usage counts the tokens of requests.
type Usage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
}

// address is where completions are asked for.
func (c *Client) address() (string, error) {
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("endpoint %q is no http or https address", c.Endpoint)
	}
	if !strings.HasSuffix(u.Path, "/chat/completions") {
		u = u.JoinPath("chat", "completions")
	}
	return u.String(), nil
}

// ask sends a prompt until check accepts the reply or the attempts are used up.
func (c *Client) ask(ctx context.Context, prompt string, check func(reply string) error) (reply string, used Usage, err error) {
	address, err := c.address()
	if err != nil {
		return "", used, err
	}
	attempts := c.Attempts
	if attempts <= 0 {
		attempts = 6
	}
	wait := time.Second / 2
	for try := 1; ; try++ {
		var u Usage
		var after time.Duration
		reply, u, after, err = c.once(ctx, address, prompt)
		used.PromptTokens += u.PromptTokens
		used.CompletionTokens += u.CompletionTokens
		if err == nil {
			if err = check(reply); err == nil {
				return reply, used, nil
			}
			err = fmt.Errorf("%w: %w", errRow, err)
		}
		switch {
		case ctx.Err() != nil:
			return "", used, ctx.Err()
		case errors.Is(err, ErrRefused), errors.Is(err, errRefusedRow):
			return "", used, err
		case try == attempts || errors.Is(err, errRow) && try == 3: // asked the same, it says much the same
			if !errors.Is(err, errRow) {
				err = fmt.Errorf("%w after %d attempts: %w", ErrDown, try, err)
			}
			return reply, used, err
		case after > maxWait:
			return "", used, fmt.Errorf("%w: it asks to be left alone for %s: %w", ErrDown, after, err)
		}
		pause := max(after, wait/2+rand.N(wait)) // spread, so that not all come back at once
		wait = min(2*wait, 30*time.Second)
		if err := c.pause(ctx, pause); err != nil {
			return "", used, err
		}
	}
}

// errRefusedRow marks a request that is at fault itself, e.g. too long.
var errRefusedRow = fmt.Errorf("%w: it answers", errRow)

func (c *Client) pause(ctx context.Context, d time.Duration) error {
	if c.sleep != nil {
		return c.sleep(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type chatMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// once sends a request once. after is how long the endpoint asks to be left alone.
func (c *Client) once(ctx context.Context, address, prompt string) (reply string, used Usage, after time.Duration, err error) {
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = 2 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tokens := c.MaxTokens
	if tokens <= 0 {
		tokens = 1024
	}
	body, err := json.Marshal(struct {
		Model       string        `json:"model"`
		Messages    []chatMessage `json:"messages"`
		Temperature float64       `json:"temperature"`
		MaxTokens   int           `json:"max_tokens"`
	}{c.Model, []chatMessage{{"user", prompt}}, 0, tokens})
	if err != nil {
		return "", used, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return "", used, 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.Key)
	}
	web := c.HTTP
	if web == nil {
		web = http.DefaultClient
	}
	resp, err := web.Do(req)
	if err != nil {
		return "", used, 0, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(raw) > maxAnswer {
		err = fmt.Errorf("the answer is longer than %d MiB", maxAnswer>>20)
	}
	if resp.StatusCode != http.StatusOK {
		return "", used, retryAfter(resp.Header, time.Now()), c.statusError(resp, raw)
	}
	if err != nil {
		return "", used, 0, fmt.Errorf("the answer breaks off: %w", err)
	}
	var answer struct {
		Choices []struct {
			Message struct {
				Content *string `json:"content"`
			} `json:"message"`
		} `json:"choices"`
		Usage Usage `json:"usage"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return "", used, 0, fmt.Errorf("the answer is no chat completion: %w: %s", err, c.clip(raw))
	}
	if len(answer.Choices) == 0 || answer.Choices[0].Message.Content == nil {
		return "", answer.Usage, 0, fmt.Errorf("the answer has no text: %s", c.clip(raw))
	}
	return *answer.Choices[0].Message.Content, answer.Usage, 0, nil
}

// statusError sorts what is wrong: for good, for this row, or for now.
func (c *Client) statusError(resp *http.Response, body []byte) error {
	text := fmt.Sprintf("%s: %s", resp.Status, c.clip(body))
	switch code := resp.StatusCode; {
	case code == http.StatusBadRequest || code == http.StatusRequestEntityTooLarge || code == http.StatusUnprocessableEntity:
		return fmt.Errorf("%w %s", errRefusedRow, text)
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return fmt.Errorf("%w: %s; is the API key in the environment right?", ErrRefused, text)
	case code == http.StatusNotFound:
		return fmt.Errorf("%w: %s; are the endpoint and the name of the model right?", ErrRefused, text)
	case code == http.StatusRequestTimeout || code == http.StatusTooEarly || code == http.StatusTooManyRequests || code >= 500:
		return errors.New(text)
	}
	return fmt.Errorf("%w: %s", ErrRefused, text)
}

// clip shortens an answer for a message, and takes the key out of it.
func (c *Client) clip(body []byte) string {
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(body), "\uFFFD")), " ")
	if c.Key != "" {
		text = strings.ReplaceAll(text, c.Key, "***")
	}
	if r := []rune(text); len(r) > 200 {
		text = string(r[:200]) + "…"
	}
	return text
}

// retryAfter reads the header, which holds seconds or a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if s, err := strconv.ParseFloat(text, 64); err == nil && s > 0 && s < 1e6 {
		return time.Duration(s * float64(time.Second))
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
