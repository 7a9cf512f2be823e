package results

import "math"

// z95 is the 97.5 % quantile of the normal distribution: two-sided 95 %.
const z95 = 1.959963984540054

// Wilson gives the 95 % score interval of the rate broken/runs, both ends in
// [0, 1]. Without runs nothing is known: (0, 1). Unlike the textbook interval
// it is right at 0 of n, where most cells of a matrix are: 0 of 50 means below
// 7.1 %, not 0 %.
//
// Source: E. B. Wilson, Probable inference, the law of succession, and
// statistical inference, JASA 22 (1927), 209–212; why it is the one to use for
// small n: Brown, Cai, DasGupta, Interval estimation for a binomial proportion,
// Statistical Science 16 (2001).
func Wilson(broken, runs int) (lo, hi float64) {
	if runs <= 0 {
		return 0, 1
	}
	n, p := float64(runs), float64(broken)/float64(runs)
	const z2 = z95 * z95
	centre := (p + z2/(2*n)) / (1 + z2/n)
	half := z95 / (1 + z2/n) * math.Sqrt(p*(1-p)/n+z2/(4*n*n))
	lo, hi = max(0, centre-half), min(1, centre+half)
	// At the ends the formula gives 0 and 1 but for rounding.
	if broken <= 0 {
		lo = 0
	}
	if broken >= runs {
		hi = 1
	}
	return lo, hi
}
