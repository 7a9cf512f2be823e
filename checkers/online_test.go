package checkers

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/history"
)

// events gives a history as a run records it: by time, of equal times the calls
// first.
func events(ops []history.Op) []history.Event {
	var all []history.Event
	for i, o := range ops {
		called := o
		called.Return, called.Out, called.Outcome = history.Never, history.Nil, history.Info
		all = append(all, history.Event{ID: i, Op: called})
		if o.Return != history.Never {
			all = append(all, history.Event{ID: i, Done: true, Op: o})
		}
	}
	slices.SortStableFunc(all, func(a, b history.Event) int {
		if c := compare(when(a), when(b)); c != 0 || a.Done == b.Done {
			return c
		}
		if b.Done {
			return -1
		}
		return 1
	})
	return all
}

func when(e history.Event) int64 {
	if e.Done {
		return e.Op.Return
	}
	return e.Op.Call
}

// written gives a history as Encode writes it: every operation with its
// completion right behind it.
func written(ops []history.Op) []history.Event {
	all := events(ops)
	slices.SortStableFunc(all, func(a, b history.Event) int { return a.ID - b.ID })
	return all
}

// byOnline judges one key; Unknown where it does not apply.
func byOnline(all []history.Event, opts Options) (Verdict, *Online) {
	o := NewOnline(opts)
	if len(all)%2 == 0 { // forget as soon as it can be
		o.epoch, o.spare = 1, 0
	}
	for i := range all {
		o.See(&all[i])
	}
	o.End()
	if _, broken := o.Broken(); broken {
		return Broken, o
	}
	for _, r := range o.registers {
		if r != nil && !r.judged() {
			return Unknown, o
		}
	}
	return Held, o
}

func TestOnlineSaysSoAtTheFirstMoment(t *testing.T) {
	for _, r := range []small{{maxOps: 9}, {maxOps: 8, cas: true}, {maxOps: 9, repeat: true}} {
		r.Rand = rand.New(rand.NewPCG(21, 1))
		early, brokenAt := 0, 0
		for range 8_000 {
			ops := r.history()
			all := events(ops)
			o := NewOnline(Options{})
			o.epoch, o.spare = 1+len(all)%2, 0
			var sofar []history.Op
			for i, e := range all {
				o.See(&all[i])
				if e.Done {
					sofar[e.ID] = e.Op
				} else {
					require.Equal(t, len(sofar), e.ID)
					sofar = append(sofar, e.Op)
				}
				_, broken := o.Broken()
				if broken {
					require.False(t, oracle(sofar, Options{}), "after %d events of %s", i+1, notation(ops))
					brokenAt++
					if i+1 < len(all) {
						early++
					}
					break
				}
				if reg := o.registers[0]; !reg.judged() {
					break
				}
				// When time has gone on, everything certain has been said: what
				// completed before now cannot be explained by anything new.
				if i+1 == len(all) || e.Done {
					continue
				}
				before := cutAt(sofar, func(p *history.Op) bool { return p.Return < e.Op.Call })
				require.True(t, oracle(before, Options{}), "after %d events of %s", i+1, notation(ops))
			}
		}
		require.Greater(t, brokenAt, 500)
		require.Greater(t, early, 300)
	}
}
