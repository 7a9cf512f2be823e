package sim

import "math/rand/v2"

// purpose separates the streams of random numbers. Each thing that is drawn
// has its own stream, so that one more fault, or one more message on another
// link, does not shift the draws of the rest.
type purpose uint64

const (
	forLink   purpose = iota + 1 // delays and loss from one node to another
	forClient                    // delays between clients and a node
	forProbe                     // World.Probe
	forSync                      // how long syncs take
	forCrash                     // what a crash leaves on a disk
	forBoot                      // how long a restart takes
	forNode                      // Host.Rand
	forRot                       // what a bad disk spoils
	forDisk                      // World.ProbeDisk
)

// stream derives a generator from the seed of the run.
func stream(seed uint64, p purpose, a, b uint64) rand.PCG {
	h := mix(mix(mix(mix(seed)^uint64(p))^a) ^ b)
	return *rand.NewPCG(h, mix(h))
}

// mix is the finalizer of splitmix64 (Steele, Lea, Flood, OOPSLA 2014): every
// bit of the argument reaches every bit of the result.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// chance draws a yes with the given probability.
func chance(r *rand.PCG, p float64) bool {
	return float64(r.Uint64()>>11)*0x1p-53 < p
}

// upto draws a number from 0 to n, both included.
func upto(r *rand.PCG, n int) int {
	// The bias of the remainder is below n/2^64: far from mattering here.
	return int(r.Uint64() % (uint64(n) + 1))
}
