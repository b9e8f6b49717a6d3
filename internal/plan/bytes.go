package plan

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// FormatBytes formats a size with three digits and a binary unit.
func FormatBytes(n int64) string {
	f := float64(n)
	for _, u := range []string{"B", "KiB", "MiB", "GiB"} {
		if f < 1024 {
			if u == "B" {
				return fmt.Sprintf("%d B", n)
			}
			return fmt.Sprintf("%.1f %s", f, u)
		}
		f /= 1024
	}
	return fmt.Sprintf("%.1f TiB", f)
}

// ParseBytes reads a size: a number with a unit of 1024 (KiB, MiB, GiB, TiB, or K, M, G, T), of 1000 (KB, MB, GB, TB), or
// without one, in bytes.
func ParseBytes(text string) (int64, error) {
	t := strings.TrimSpace(text)
	digits := strings.TrimRight(t, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
	unit := strings.ToLower(strings.TrimSpace(t[len(digits):]))
	factor := 1.0
	if unit != "" && unit != "b" {
		power := strings.IndexByte("kmgt", unit[0]) + 1
		base := map[string]float64{"": 1024, "ib": 1024, "b": 1000}[unit[1:]]
		factor = math.Pow(base, float64(power))
		if power == 0 || base == 0 {
			factor = 0
		}
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || factor == 0 || n < 0 || n*factor > math.MaxInt64/2 || math.IsNaN(n) {
		return 0, fmt.Errorf("%q is no size; write it as 24GB, 24GiB or 512M", text)
	}
	return int64(n * factor), nil
}
