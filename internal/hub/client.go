package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Errors to branch on with errors.Is.
var (
	ErrNotFound     = errors.New("not found on the hub")
	ErrUnauthorized = errors.New("not authorised")
	ErrGated        = errors.New("access is gated")
	ErrOffline      = errors.New("offline and not in the cache")
	ErrCorrupt      = errors.New("download does not match its checksum or size")
	ErrUnavailable  = errors.New("hub not reachable")
)

const (
	defaultAttempts    = 5
	defaultConcurrency = 4
	maxWait            = 5 * time.Minute // the longest Retry-After that is waited out
	maxAnswer          = 64 << 20        // bytes of an API answer
	answerTime         = 2 * time.Minute // until an answer must begin
	stallTime          = time.Minute     // that a download may stand still before it is asked for again
)

// client sends requests with the token, retries, and the hub's errors in words.
type client struct {
	o     Options
	host  string
	web   *http.Client // follows redirects, the token staying behind at another host
	first *http.Client // stops at a redirect to another host
}

func newClient(o Options) (*client, error) {
	if o.Endpoint == "" {
		o.Endpoint = defaultEndpoint
	}
	o.Endpoint = strings.TrimRight(o.Endpoint, "/")
	u, err := url.Parse(o.Endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("HF_ENDPOINT %q is no http or https address", o.Endpoint)
	}
	if o.Attempts <= 0 {
		o.Attempts = defaultAttempts
	}
	if o.Concurrency <= 0 {
		o.Concurrency = defaultConcurrency
	}
	if o.sleep == nil {
		o.sleep = time.After
	}
	if o.stall == 0 {
		o.stall = stallTime
	}
	base := o.Client
	if base == nil {
		base = &http.Client{}
		if t, ok := http.DefaultTransport.(*http.Transport); ok {
			t = t.Clone() // proxies from the environment, and time limits on connecting
			t.ResponseHeaderTimeout = answerTime
			base.Transport = t
		}
	}
	c := &client{o: o, host: u.Scheme + "://" + u.Host}
	web, first := *base, *base
	web.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if len(via) >= 10 {
			return errors.New("stopped after 10 redirects")
		}
		// Go itself would keep the token for subdomains; the hub's storage needs none, and no other host shall see it.
		if req.URL.Scheme+"://"+req.URL.Host != c.host {
			req.Header.Del("Authorization")
		}
		return nil
	}
	first.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if len(via) >= 10 {
			return errors.New("stopped after 10 redirects")
		}
		if req.URL.Scheme+"://"+req.URL.Host != c.host {
			return http.ErrUseLastResponse
		}
		return nil
	}
	c.web, c.first = &web, &first
	return c, nil
}

// request is one call; body may be nil and is sent anew on every try.
type request struct {
	method, url string
	header      map[string]string
	body        func() (io.Reader, int64, error)
	stay        bool // stop at a redirect to another host
}

func (c *client) send(ctx context.Context, r request) (*http.Response, error) {
	var body io.Reader
	size := int64(0)
	if r.body != nil {
		var err error
		if body, size, err = r.body(); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, body)
	if err != nil {
		return nil, err
	}
	if r.body != nil {
		req.ContentLength = size
		if size == 0 {
			req.Body = http.NoBody
		}
	}
	req.Header.Set("User-Agent", "mltrain ("+runtime.GOOS+")")
	// Without this Go asks for gzip and hides sizes.
	req.Header.Set("Accept-Encoding", "identity")
	for k, v := range r.header {
		req.Header.Set(k, v)
	}
	if c.o.Token != "" && req.URL.Scheme+"://"+req.URL.Host == c.host {
		req.Header.Set("Authorization", "Bearer "+c.o.Token)
	}
	hc := c.web
	if r.stay {
		hc = c.first
	}
	return hc.Do(req)
}

// do sends a request until it is answered by something other than 429, 5xx or silence.
func (c *client) do(ctx context.Context, r request) (*http.Response, error) {
	for try := 0; ; try++ {
		resp, err := c.send(ctx, r)
		if err == nil && !retryable(resp.StatusCode) {
			return resp, nil
		}
		if err == nil {
			err = c.failure(resp)
		} else if ctx.Err() != nil {
			return nil, ctx.Err()
		} else {
			err = fmt.Errorf("%w: %v", ErrUnavailable, err)
		}
		if try+1 >= c.o.Attempts {
			return nil, fmt.Errorf("%w (tried %d times)", err, try+1)
		}
		if err := c.wait(ctx, try, resp); err != nil {
			return nil, err
		}
	}
}

func retryable(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// wait pauses before another try: as long as Retry-After says, else 1, 2, 4, … up to 30 seconds.
func (c *client) wait(ctx context.Context, try int, resp *http.Response) error {
	d := min(time.Second<<min(try, 10), 30*time.Second)
	if resp != nil {
		if after := resp.Header.Get("Retry-After"); after != "" {
			if s, err := strconv.Atoi(after); err == nil {
				d = time.Duration(s) * time.Second
			} else if t, err := http.ParseTime(after); err == nil {
				d = time.Until(t)
			}
		}
	}
	if d > maxWait {
		return fmt.Errorf("%w: the hub asks to wait %v; try again then", ErrUnavailable, d.Round(time.Second))
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-c.o.sleep(max(d, 0)):
		return nil
	}
}

// failure puts an answer that is no success into words, and closes it.
func (c *client) failure(resp *http.Response) error {
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	detail := resp.Header.Get("X-Error-Message")
	if detail == "" {
		var body struct{ Error string }
		if json.Unmarshal(text, &body) == nil {
			detail = body.Error
		}
	}
	what := resp.Request.URL.Redacted()
	if detail != "" {
		what += ": " + detail
	}
	switch code := resp.Header.Get("X-Error-Code"); {
	case code == "GatedRepo":
		return fmt.Errorf("%w: ask for access on the model's page, then set HF_TOKEN to a token of that account (%s)", ErrGated, what)
	case code == "RevisionNotFound":
		return fmt.Errorf("%w: there is no such revision (%s)", ErrNotFound, what)
	case code == "EntryNotFound":
		return fmt.Errorf("%w: there is no such file (%s)", ErrNotFound, what)
	case resp.StatusCode == http.StatusUnauthorized && c.o.Token == "":
		// The hub answers 401, not 404, to strangers who ask for what does not exist.
		return fmt.Errorf("%w: no such repository, or a private one: check the name, or set HF_TOKEN (%s)", ErrUnauthorized, what)
	case resp.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("%w: the token is not valid, or the repository does not exist for it (%s)", ErrUnauthorized, what)
	case resp.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%w: the token lacks the right to do this (%s)", ErrUnauthorized, what)
	case resp.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%w: no such repository or file (%s)", ErrNotFound, what)
	case retryable(resp.StatusCode):
		return fmt.Errorf("%w: %s (%s)", ErrUnavailable, resp.Status, what)
	}
	return fmt.Errorf("the hub answered %s (%s)", resp.Status, what)
}

// json sends a request, in as JSON when not nil, and reads a JSON answer into out.
func (c *client) json(ctx context.Context, method, address string, in, out any) (http.Header, error) {
	r := request{method: method, url: address}
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		r.header = map[string]string{"Content-Type": "application/json"}
		r.body = func() (io.Reader, int64, error) { return bytes.NewReader(raw), int64(len(raw)), nil }
	}
	return c.answer(ctx, r, out)
}

// answer reads the JSON answer to a request; one that breaks off is asked for again.
func (c *client) answer(ctx context.Context, r request, out any) (http.Header, error) {
	for try := 0; ; try++ {
		resp, err := c.do(ctx, r)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode/100 != 2 {
			return resp.Header, c.failure(resp)
		}
		raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		resp.Body.Close()
		if err == nil && out != nil {
			if err := json.Unmarshal(raw, out); err != nil {
				return resp.Header, fmt.Errorf("%s gave no JSON of the hub's API: %w", r.url, err)
			}
		}
		if err == nil {
			return resp.Header, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if try+1 >= c.o.Attempts || r.method != http.MethodGet {
			return nil, fmt.Errorf("%w: %v", ErrUnavailable, err)
		}
		if err := c.wait(ctx, try, nil); err != nil {
			return nil, err
		}
	}
}
