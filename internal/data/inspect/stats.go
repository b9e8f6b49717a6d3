package inspect

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/mltrain/mltrain/internal/data"
)

// Lengths describes a list of lengths in tokens.
type Lengths struct {
	Rows int     `json:"rows"`
	Mean float64 `json:"mean"`
	Min  int     `json:"min"`
	P50  int     `json:"p50"`
	P90  int     `json:"p90"`
	P95  int     `json:"p95"`
	P99  int     `json:"p99"`
	Max  int     `json:"max"`
}

// Bucket is a bar of the histogram: rows of From to To tokens.
type Bucket struct {
	From int `json:"from"`
	To   int `json:"to"`
	Rows int `json:"rows"`
}

// Stats says what a dataset is like, before and after max_length.
type Stats struct {
	Ledger     *data.Ledger `json:"ledger"`
	Before     Lengths      `json:"lengths_before_truncation"`
	After      Lengths      `json:"lengths"`
	Histogram  []Bucket     `json:"histogram"` // before truncation
	CutTokens  int64        `json:"tokens_cut"`
	Packed     float64      `json:"packing_efficiency,omitempty"` // bfd, supervised rows only
	PackedRows int          `json:"packed_rows,omitempty"`
	Padded     float64      `json:"padding_efficiency"` // shuffled, at BatchSize
	Grouped    float64      `json:"group_by_length_efficiency"`
	BatchSize  int          `json:"batch_size"`
}

// histogramBuckets is how many bars the histogram has.
const histogramBuckets = 16

// Statistics measures a dataset. Packing and padding are worked out at the given batch size.
func Statistics(ctx context.Context, sources []data.Source, opt data.Options, tok data.Tokenizer, batchSize int) (*Stats, error) {
	ds, ledger, err := data.Open(ctx, sources, opt, tok)
	if err != nil {
		return nil, err
	}
	defer ds.Close()
	s := &Stats{Ledger: ledger, BatchSize: batchSize}
	var before, after []int
	err = data.Inspect(ctx, sources, opt, tok, func(in data.Inspected) error {
		if in.Full > 0 {
			before = append(before, in.Full)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range ds.Len() {
		after = append(after, ds.Length(i))
	}
	for _, n := range before {
		if opt.Overflow == data.Truncate {
			s.CutTokens += int64(max(0, n-opt.MaxLength))
		}
	}
	s.Before, s.After, s.Histogram = lengths(before), lengths(after), histogram(before)
	for _, l := range []struct {
		opt  data.LoaderOptions
		into *float64
		rows *int
	}{
		{data.LoaderOptions{BatchSize: 1, Packing: data.PackBestFit}, &s.Packed, &s.PackedRows},
		{data.LoaderOptions{BatchSize: batchSize, Shuffle: true}, &s.Padded, nil},
		{data.LoaderOptions{BatchSize: batchSize, Shuffle: true, GroupByLength: true}, &s.Grouped, nil},
	} {
		if l.opt.Packing != data.NoPacking && opt.Objective != data.Supervised || opt.Overflow == data.KeepLong {
			continue
		}
		loader, err := data.NewLoader(ds, l.opt)
		if err != nil {
			return nil, err
		}
		*l.into = loader.Efficiency(0)
		if l.rows != nil {
			*l.rows = loader.MicroBatches(0)
		}
	}
	return s, nil
}

func lengths(list []int) Lengths {
	if len(list) == 0 {
		return Lengths{}
	}
	sorted := slices.Sorted(slices.Values(list))
	sum := 0
	for _, n := range sorted {
		sum += n
	}
	at := func(q float64) int { return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)] } // nearest rank
	return Lengths{Rows: len(sorted), Mean: float64(sum) / float64(len(sorted)), Min: sorted[0], P50: at(.5), P90: at(.9), P95: at(.95),
		P99: at(.99), Max: sorted[len(sorted)-1]}
}

// histogram counts lengths in buckets of equal, round width.
func histogram(list []int) []Bucket {
	if len(list) == 0 {
		return nil
	}
	longest := slices.Max(list)
	width := 1
	for step := 0; longest/width >= histogramBuckets; step++ { // 1, 2, 5, 10, 20, 50 …
		width = []int{2, 5, 10}[step%3] * int(math.Pow10(step/3))
	}
	buckets := make([]Bucket, longest/width+1)
	for i := range buckets {
		buckets[i].From, buckets[i].To = i*width, (i+1)*width-1
	}
	for _, n := range list {
		buckets[n/width].Rows++
	}
	return buckets
}

// Write prints the statistics with the histogram as bars.
func (s *Stats) Write(w io.Writer) error {
	if err := s.Ledger.Write(w); err != nil {
		return err
	}
	var b strings.Builder
	line := func(name string, l Lengths) {
		fmt.Fprintf(&b, "%-10s mean %.1f, min %d, median %d, 90%% %d, 95%% %d, 99%% %d, max %d\n", name, l.Mean, l.Min, l.P50, l.P90, l.P95, l.P99, l.Max)
	}
	b.WriteString("\nlengths in tokens\n")
	line("as written", s.Before)
	line("as trained", s.After)
	if s.CutTokens > 0 {
		fmt.Fprintf(&b, "max_length %d cuts %d tokens off; %d would keep 99%% of the rows whole\n", s.Ledger.MaxLength, s.CutTokens, s.Before.P99)
	}
	most := 1
	for _, k := range s.Histogram {
		most = max(most, k.Rows)
	}
	b.WriteByte('\n')
	for _, k := range s.Histogram {
		fmt.Fprintf(&b, "%7d–%-7d %7d %s\n", k.From, k.To, k.Rows, strings.Repeat("█", (40*k.Rows+most-1)/most))
	}
	b.WriteString("\nshare of tokens that are no padding\n")
	if s.Packed > 0 {
		fmt.Fprintf(&b, "packing (bfd)            %5.1f%%, %d packed rows\n", 100*s.Packed, s.PackedRows)
	}
	fmt.Fprintf(&b, "group_by_length, batch %d %5.1f%%\npadding, batch %d         %5.1f%%\n", s.BatchSize, 100*s.Grouped, s.BatchSize, 100*s.Padded)
	_, err := io.WriteString(w, b.String())
	return err
}
