package predictions

import (
	"fmt"
	"math"

	"github.com/mltrain/mltrain/internal/eval/metric"
)

// scoreRanking takes rows of {"relevance": [gain…], "scores": [score…]}, or of
// {"ranking": [id…], "relevant": [id…] or {id: gain}}.
func (r *Report) scoreRanking(rows []row, o Options) error {
	var c collector
	queries := make([]metric.Query, len(rows))
	for i, row := range rows {
		q, err := readQuery(row)
		if err != nil {
			c.add(err)
			continue
		}
		queries[i] = q
	}
	if err := c.err(); err != nil {
		return err
	}
	ks := o.K
	if ks == nil {
		ks = []int{1, 3, 5, 10}
	}
	type named struct {
		name string
		of   func(metric.Query) (float64, error)
	}
	all := []named{{"ndcg", func(q metric.Query) (float64, error) { return q.NDCG(0) }}, {"mrr", metric.Query.ReciprocalRank}, {"map", metric.Query.AveragePrecision}}
	for _, k := range ks {
		all = append(all,
			named{fmt.Sprintf("ndcg@%d", k), func(q metric.Query) (float64, error) { return q.NDCG(k) }},
			named{fmt.Sprintf("recall@%d", k), func(q metric.Query) (float64, error) { return q.RecallAt(k) }},
			named{fmt.Sprintf("precision@%d", k), func(q metric.Query) (float64, error) { return q.PrecisionAt(k) }})
	}
	for _, m := range all {
		var each []float64
		for i, q := range queries {
			v, err := m.of(q)
			if err != nil {
				return rows[i].errorf("%w", err)
			}
			if !math.IsNaN(v) {
				each = append(each, v)
			}
		}
		r.Results.set(m.name, metric.Mean(each))
	}
	empty := 0
	for _, q := range queries {
		if rr, err := q.RecallAt(1); err == nil && math.IsNaN(rr) {
			empty++
		}
	}
	if empty > 0 {
		r.note("%d queries have nothing relevant: recall and map leave them out, the others count 0", empty)
	}
	return nil
}

func readQuery(r row) (metric.Query, error) {
	if gains, key, ok := r.get(gainKeys...); ok {
		g, err := gains.numbers()
		if err != nil {
			return metric.Query{}, r.errorf("%s: %w", key, err)
		}
		scores, key, ok := r.get("scores", "score", "prediction")
		if !ok {
			return metric.Query{}, r.errorf("the key scores is missing; the row has %s", orNone(r.keys()))
		}
		s, err := scores.numbers()
		if err != nil {
			return metric.Query{}, r.errorf("%s: %w", key, err)
		}
		if len(s) != len(g) {
			return metric.Query{}, r.errorf("%d %s for %d items", len(s), key, len(g))
		}
		return metric.Query{Gains: g, Scores: s}, nil
	}
	ranked, ok := r.cells["ranking"]
	relevant, ok2 := r.cells["relevant"]
	if !ok || !ok2 {
		return metric.Query{}, r.errorf("needed are relevance and scores, or ranking and relevant; the row has %s", orNone(r.keys()))
	}
	ids, err := ranked.classes()
	if err != nil {
		return metric.Query{}, r.errorf("ranking: %w", err)
	}
	gains := relevant.byName
	if gains == nil {
		names, err := relevant.classes()
		if err != nil {
			return metric.Query{}, r.errorf("relevant: %w", err)
		}
		gains = map[string]float64{}
		for _, id := range names {
			gains[id] = 1
		}
	}
	var q metric.Query
	seen := map[string]bool{}
	for i, id := range ids {
		if seen[id] {
			return metric.Query{}, r.errorf("ranking names %s twice", id)
		}
		seen[id] = true
		q.Gains = append(q.Gains, gains[id])
		q.Scores = append(q.Scores, float64(len(ids)-i))
	}
	for id, g := range gains {
		if !seen[id] {
			q.Gains = append(q.Gains, g)
			q.Scores = append(q.Scores, math.Inf(-1))
		}
	}
	if len(q.Gains) == 0 {
		return metric.Query{}, r.errorf("ranking and relevant are both empty")
	}
	return q, nil
}
