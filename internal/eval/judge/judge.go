package judge

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/mltrain/mltrain/internal/eval/metric"
)

// Options say what to ask and how.
type Options struct {
	Rubric      string // "" is [DefaultRubric]
	Scale       int    // best score of a rubric; 0 is 10
	Concurrency int    // requests at a time; 0 is 8
	Output      string // file that keeps the judgements, and from which an interrupted run goes on
	// PriceIn and PriceOut are the cost of a million tokens of prompts and of replies.
	PriceIn, PriceOut float64
	Progress          func(done, total int)
}

// Summary is what the judge said of all rows.
type Summary struct {
	Model   string   `json:"model"`
	Rows    int      `json:"rows"`
	Score   *Scores  `json:"score,omitempty"`
	Pairs   *Pairs   `json:"pairwise,omitempty"`
	Failed  int      `json:"failed"`           // rows without a verdict; they are left out
	Resumed int      `json:"resumed"`          // judgements that were there already
	Usage   Usage    `json:"usage"`            // of all judgements, those included
	Cost    float64  `json:"cost_usd"`         // 0 without prices
	Errors  []string `json:"errors,omitempty"` // of the first rows that failed
}

// Scores are those of a rubric.
type Scores struct {
	Mean   float64 `json:"mean"`
	Stderr float64 `json:"stderr"` // sample standard deviation / √n; 0 for one row
	Scale  int     `json:"scale"`
}

// Pairs counts comparisons. Each pair is judged in both orders; a response wins
// when it is preferred in both, or in one and the other is a tie. When the two
// contradict each other it is a tie, and not consistent.
type Pairs struct {
	WinsA       int     `json:"wins_a"`
	WinsB       int     `json:"wins_b"`
	Ties        int     `json:"ties"`
	WinRateA    float64 `json:"win_rate_a"`  // (wins + ½ ties) / pairs
	Stderr      float64 `json:"stderr"`      // of the win rate
	Consistency float64 `json:"consistency"` // share of pairs that got the same verdict in both orders
}

// question is one request about a row.
type question struct {
	row     int
	swapped bool
	prompt  string
}

// Run judges all rows. When the endpoint goes down or ctx ends, what was judged stays in the
// output file, and the next run goes on from there.
func Run(ctx context.Context, c *Client, rows []Row, pairs bool, o Options) (sum *Summary, err error) {
	if o.Rubric == "" {
		o.Rubric = DefaultRubric
	}
	if o.Scale == 0 {
		o.Scale = 10
	}
	if o.Concurrency <= 0 {
		o.Concurrency = 8
	}
	if _, err := c.address(); err != nil {
		return nil, err
	}
	s, err := openStore(o.Output)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	var questions []question
	for i, r := range rows {
		if pairs {
			questions = append(questions, question{i, false, pairPrompt(r, o.Rubric, false)}, question{i, true, pairPrompt(r, o.Rubric, true)})
		} else {
			questions = append(questions, question{i, false, rubricPrompt(r, o.Rubric, o.Scale)})
		}
	}
	made, resumed, err := askAll(ctx, c, rows, questions, pairs, o, s)
	if err != nil {
		kept := 0
		for _, j := range made {
			if j.Key != "" && j.Error == "" {
				kept++
			}
		}
		return nil, fmt.Errorf("%w\n%d of %d judgements are kept in %s; the same command goes on from there", err, kept, len(questions), o.Output)
	}
	sum = &Summary{Model: c.Model, Rows: len(rows), Resumed: resumed}
	if pairs {
		sum.comparePairs(made)
	} else {
		sum.averageScores(made, o.Scale)
	}
	for _, j := range made {
		sum.Usage.PromptTokens += j.Usage.PromptTokens
		sum.Usage.CompletionTokens += j.Usage.CompletionTokens
		if j.Error != "" && len(sum.Errors) < 5 {
			sum.Errors = append(sum.Errors, j.Row+": "+j.Error)
		}
	}
	sum.Cost = (float64(sum.Usage.PromptTokens)*o.PriceIn + float64(sum.Usage.CompletionTokens)*o.PriceOut) / 1e6
	return sum, nil
}

// askAll answers the questions, several at a time.
func askAll(ctx context.Context, c *Client, rows []Row, questions []question, pairs bool, o Options, s *store) (made []Judgement, resumed int, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	made = make([]Judgement, len(questions))
	var open []int
	for i, q := range questions {
		if j, ok := s.get(keyOf(c.Model, q.prompt, c.MaxTokens)); ok {
			made[i] = j
			resumed++
		} else {
			open = append(open, i)
		}
	}
	var mu sync.Mutex
	done := resumed
	report := func() {
		if o.Progress != nil {
			o.Progress(done, len(questions))
		}
	}
	report()
	next := make(chan int)
	var group sync.WaitGroup
	for range min(o.Concurrency, len(open)) {
		group.Go(func() {
			for i := range next {
				j, err := c.judge(ctx, questions[i], pairs, o)
				if err == nil {
					j.Row = rows[questions[i].row].At.String()
					err = s.add(j)
				}
				if err != nil {
					cancel(err)
					return
				}
				mu.Lock()
				made[i] = j
				done++
				report()
				mu.Unlock()
			}
		})
	}
feed:
	for _, i := range open {
		select {
		case next <- i:
		case <-ctx.Done():
			break feed
		}
	}
	close(next)
	group.Wait()
	return made, resumed, context.Cause(ctx)
}

// judge answers one question. A reply without a verdict, or a row that the endpoint refuses, is a judgement with
// an error; that the endpoint does not answer is an error.
func (c *Client) judge(ctx context.Context, q question, pairs bool, o Options) (Judgement, error) {
	j := Judgement{Key: keyOf(c.Model, q.prompt, c.MaxTokens), Swapped: q.swapped}
	var err error
	j.Reply, j.Usage, err = c.ask(ctx, q.prompt, func(reply string) error {
		if !pairs {
			var err error
			j.Score, err = parseScore(reply, o.Scale)
			return err
		}
		winner, err := parseWinner(reply)
		j.Winner = map[string]string{"A": "a", "B": "b", "C": "tie"}[winner]
		if q.swapped && j.Winner == "a" {
			j.Winner = "b"
		} else if q.swapped && j.Winner == "b" {
			j.Winner = "a"
		}
		return err
	})
	if errors.Is(err, errRow) {
		j.Error = err.Error()
		return j, nil
	}
	return j, err
}

func (s *Summary) averageScores(made []Judgement, scale int) {
	var scores []float64
	for _, j := range made {
		if j.Error != "" {
			s.Failed++
			continue
		}
		scores = append(scores, j.Score)
	}
	if len(scores) == 0 {
		return
	}
	s.Score = &Scores{Mean: metric.Mean(scores), Stderr: stderr(scores), Scale: scale}
}

// comparePairs goes by two judgements for each row, one in each order.
func (s *Summary) comparePairs(made []Judgement) {
	p := &Pairs{}
	var points []float64
	consistent := 0
	for i := 0; i+1 < len(made); i += 2 {
		x, y := made[i], made[i+1]
		if x.Error != "" || y.Error != "" {
			s.Failed++
			continue
		}
		balance := 0
		for _, w := range []string{x.Winner, y.Winner} {
			switch w {
			case "a":
				balance++
			case "b":
				balance--
			}
		}
		if x.Winner == y.Winner {
			consistent++
		}
		switch {
		case balance > 0:
			p.WinsA++
			points = append(points, 1)
		case balance < 0:
			p.WinsB++
			points = append(points, 0)
		default:
			p.Ties++
			points = append(points, 0.5)
		}
	}
	if len(points) == 0 {
		return
	}
	p.WinRateA, p.Stderr = metric.Mean(points), stderr(points)
	p.Consistency = float64(consistent) / float64(len(points))
	s.Pairs = p
}

// stderr is the standard error of the mean.
func stderr(x []float64) float64 {
	if len(x) < 2 {
		return 0
	}
	mean, squares := metric.Mean(x), 0.0
	for _, v := range x {
		squares += (v - mean) * (v - mean)
	}
	return math.Sqrt(squares / float64(len(x)-1) / float64(len(x)))
}
