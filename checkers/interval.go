package checkers

import (
	"fmt"
	"math"
)

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

// Rate is how often something was broken, with the 95 % interval of what it
// would be in the long run. The interval takes the cases for independent, which
// those of one run are not quite: bursts make it too narrow.
type Rate struct {
	What   string  `json:"what"` // of what, in the singular: "read"
	Broken int     `json:"broken"`
	Of     int     `json:"of"`
	Low    float64 `json:"low"`  // of the interval, 0 to 1
	High   float64 `json:"high"` // see [Wilson]
}

func rateOf(broken, of int, what string) *Rate {
	r := &Rate{What: what, Broken: broken, Of: of}
	r.Low, r.High = Wilson(broken, of)
	return r
}

// String gives "12 of 430 reads broken (1.6–4.8 %)".
func (r *Rate) String() string {
	return fmt.Sprintf("%s of %s broken (%s)", count(r.Broken), plural(r.Of, r.What), r.Interval())
}

// Interval gives "1.6–4.8 %": two digits that mean something.
func (r *Rate) Interval() string {
	return percentDigits(r.Low) + "–" + percentDigits(r.High) + " %"
}

// percentDigits prints a part of 1 in percent.
func percentDigits(p float64) string {
	switch p *= 100; {
	case p == 0:
		return "0"
	case p < 0.01:
		return fmt.Sprintf("%.1g", p)
	case p < 1:
		return fmt.Sprintf("%.2f", p)
	case p < 10:
		return fmt.Sprintf("%.1f", p)
	}
	return fmt.Sprintf("%.0f", p)
}

// dkw is how far the distribution function of n measured values may be from the
// true one, anywhere, with 95 % confidence.
//
// Source: A. Dvoretzky, J. Kiefer, J. Wolfowitz, Asymptotic minimax character of
// the sample distribution function, Annals of Mathematical Statistics 27 (1956);
// the constant: P. Massart, The tight constant in the DKW inequality, Annals of
// Probability 18 (1990).
func dkw(n int) float64 {
	if n <= 0 {
		return 1
	}
	return math.Sqrt(math.Log(2/0.05) / (2 * float64(n)))
}
