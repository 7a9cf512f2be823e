package checkers

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// promises is which of some claims a hand-made history breaks; every other one
// of them holds, or there is nothing in the history to judge it by.
type promises struct {
	name, history string
	broken        []Claim
}

var registerClaims = []Claim{
	Linearizable, FreshReads, Sequential, ReadYourWrites, MonotonicReads, MonotonicWrites, WritesFollowReads,
	BoundedStaleness, NoPhantoms, NoComebacks, NoResurrections, NoDuplicates,
}

func (p promises) check(t *testing.T, opts JudgeOptions) {
	t.Run(p.name, func(t *testing.T) {
		in := Input{History: parse(t, p.history)}
		for _, c := range registerClaims {
			r := opts.checker(c)(in, Budget{})
			require.Equal(t, c, r.Claim)
			require.NotEmpty(t, r.Reason)
			want := Held
			for _, b := range p.broken {
				if b == c {
					want = Broken
				}
			}
			if want == Held && r.Verdict == Unknown && r.Checked == 0 {
				continue // there is nothing in the history that could break it
			}
			require.Equal(t, want, r.Verdict, "%s: %s", c, r.Reason)
			if want == Broken && c != Linearizable {
				require.Positive(t, r.Rate.Broken)
				require.NotEmpty(t, r.Ops, r.Reason)
			}
		}
	})
}

// Each history breaks one of the weaker promises and, of the others, only those
// that imply it.
func TestOnePromiseAtATime(t *testing.T) {
	for _, p := range []promises{
		{name: "all is well", history: "w1@1-2:0 r1@3-4:1 w2@5-6:0 r2@7-8:1 r2@9-10:0"},

		// Sessions.
		{name: "a session misses its own write", history: "w1@1-2:0 w2@3-4:1 r1@5-6:1 r2@7-8:2",
			broken: []Claim{Linearizable, FreshReads, ReadYourWrites}},
		{name: "a session goes back during a write", history: "w1@1-2:0 w2@3-20:3 r2@5-6:1 r1@7-8:1 r2@21-22:2",
			broken: []Claim{Linearizable, MonotonicReads}},
		{name: "two sessions disagree during a write", history: "w1@1-2:0 w2@3-20:0 r2@5-6:1 r1@7-8:2",
			broken: []Claim{Linearizable}},
		{name: "two sessions see two writes in different order", history: "w1@1-30:0 w2@1-30:1 r1@2-3:2 r2@4-5:2 r2@2-3:3 r1@4-5:3",
			broken: []Claim{Linearizable, Sequential}},
		{name: "the later of two keys is seen first", history: "w1@1-2/0:0 w2@3-4/1:0 r2@5-6/1:1 rnil@7-8/0:1",
			broken: []Claim{Linearizable, FreshReads, MonotonicWrites}},
		{name: "an answer is seen and its question is not", history: "w1@1-30/0:0 r1@2-3/0:1 w2@4-5/1:1 r2@6-7/1:2 rnil@8-9/0:2",
			broken: []Claim{Linearizable, WritesFollowReads}},
		{name: "an answer is seen and the question's replacement is", history: "w1@1-2/0:0 r1@2-3/0:1 w2@4-5/1:1 r2@6-7/1:2 w3@6-7/0:3 r3@8-9/0:2"},

		// Values.
		{name: "from nowhere", history: "w1@1-2:0 r7@3-4:1",
			broken: []Claim{Linearizable, FreshReads, Sequential, NoPhantoms}},
		{name: "from the future", history: "r1@1-2:0 w1@3-4:1",
			broken: []Claim{Linearizable, FreshReads, NoPhantoms}},
		{name: "of a failed write", history: "w1@1-2!:0 r1@3-4:1",
			broken: []Claim{Linearizable, FreshReads, Sequential, NoPhantoms}},
		{name: "stale, though nobody had seen the newer value", history: "w1@1-2:0 w2@3-4:1 r1@5-6:2",
			broken: []Claim{Linearizable, FreshReads}},
		{name: "back after it was seen replaced", history: "w1@1-2:0 w2@3-4:1 r2@5-6:2 r1@7-8:3",
			broken: []Claim{Linearizable, FreshReads, NoComebacks}},
		{name: "back after it was seen deleted", history: "w1@1-2:0 d@3-4:1 rnil@5-6:2 r1@7-8:3",
			broken: []Claim{Linearizable, FreshReads, NoResurrections}},
		{name: "deleted, but nobody had seen that", history: "w1@1-2:0 d@3-4:1 r1@7-8:3",
			broken: []Claim{Linearizable, FreshReads}},
		{name: "written again after it was deleted", history: "w1@1-2:0 d@3-4:1 rnil@5-6:2 w1@7-8:0 r1@9-10:3"},
		{name: "taken twice", history: "w1@1-2:0 c1>2@3-20:1 c1>3@3-20:2",
			broken: []Claim{Linearizable, Sequential, NoDuplicates}},
		{name: "taken twice, once by an operation of unknown outcome", history: "w1@1-2:0 c1>2@3?:1 r2@5-6:3 c1>3@3-20:2",
			broken: []Claim{Linearizable, Sequential, NoDuplicates}},
		{name: "taken once, and perhaps never by the other", history: "w1@1-2:0 c1>2@3?:1 c1>3@3-20:2"},
		{name: "out of date for too long", history: "w1@1-2:0 w2@3-4:1 r1@700000000-700000001:2",
			broken: []Claim{Linearizable, FreshReads, BoundedStaleness}},
	} {
		p.check(t, JudgeOptions{})
	}
}

func TestSessions(t *testing.T) {
	for _, c := range []struct {
		claim         Claim
		name, history string
		want          Verdict
		order         Order
	}{
		{ReadYourWrites, "newer than its own", "w1@1-2:0 w2@3-4:1 r2@5-6:0", Held, ""},
		{ReadYourWrites, "its own", "w1@1-2:0 r1@5-6:0", Held, ""},
		{ReadYourWrites, "concurrent with its own", "w1@1-4:0 w2@3-5:1 r1@6-7:1", Held, ""},
		{ReadYourWrites, "absent after its own", "w1@1-2:0 rnil@5-6:0", Broken, ""},
		{ReadYourWrites, "its first after its second", "w1@1-2:0 w2@3-4:0 r1@5-6:0", Broken, ""},
		{ReadYourWrites, "its failed one does not count", "w1@1-2:1 w2@3-4!:0 r1@5-6:0", Unknown, ""},
		{ReadYourWrites, "its unacknowledged one does not count", "w1@1-2:1 w2@3?:0 r1@9-10:0", Unknown, ""},
		{ReadYourWrites, "another key", "w1@1-2/0:0 w2@3-4/1:0 r1@5-6/0:0", Held, ""},
		{ReadYourWrites, "its delete", "w1@1-2:1 d@3-4:0 r1@5-6:0", Broken, ""},
		{ReadYourWrites, "what a compare-and-set wrote", "w1@1-2:1 c1>2@3-4:0 r1@5-6:0", Broken, ""},
		{ReadYourWrites, "by a failed compare-and-set that saw it", "w1@1-2:1 w2@3-4:0 c9>3=1@5-6!:0", Broken, ""},
		{ReadYourWrites, "nothing to judge", "w1@1-2:0 r1@3-4:1", Unknown, ""},
		{ReadYourWrites, "only sessions count: another's older value may be the newer version", "w1@1-2:0 w2@3-4:1 r1@5-6:1", Held, SessionOrder},
		{ReadYourWrites, "only sessions count: its own older value", "w1@1-2:0 w2@3-4:0 r1@5-6:0", Broken, SessionOrder},
		{ReadYourWrites, "only sessions count: the initial value", "w1@1-2:0 rnil@5-6:0", Broken, SessionOrder},

		{MonotonicReads, "forward", "w1@1-2:0 r1@3-4:1 w2@5-6:0 r2@7-8:1", Held, ""},
		{MonotonicReads, "stale, but not back", "w1@1-2:0 w2@3-4:0 r1@5-6:1 r1@7-8:1", Held, ""},
		{MonotonicReads, "back", "w1@1-2:0 w2@3-4:0 r2@5-6:1 r1@7-8:1", Broken, ""},
		{MonotonicReads, "back between two that were concurrent", "w1@1-4:0 w2@3-5:1 r2@6-7:2 r1@8-9:2", Held, ""},
		{MonotonicReads, "back by way of one that was concurrent with both", "w1@1-2:0 w2@1-9:1 w3@3-4:2 r3@5-6:3 r2@7-8:3 r1@9-10:3", Broken, ""},
		{MonotonicReads, "other sessions may be behind", "w1@1-2:0 w2@3-4:0 r2@5-6:1 r1@7-8:2", Unknown, ""},
		{MonotonicReads, "absent again", "w1@1-2:0 r1@5-6:1 rnil@7-8:1", Broken, ""},
		{MonotonicReads, "the older may still happen", "w1@1?:0 w2@3-4:1 r2@5-6:2 r1@7-8:2", Held, ""},
		{MonotonicReads, "the older was written again", "w1@1-2:0 w2@3-4:0 r2@5-6:1 w1@6-7:0 r1@8-9:1", Held, ""},
		{MonotonicReads, "only sessions count", "w1@1-2:0 w2@3-4:1 r2@5-6:2 r1@7-8:2", Held, SessionOrder},
		{MonotonicReads, "only sessions count: of one writer", "w1@1-2:0 w2@3-4:0 r2@5-6:2 r1@7-8:2", Broken, SessionOrder},
		{MonotonicReads, "only sessions count: the initial value", "w1@1-2:0 r1@5-6:2 rnil@7-8:2", Broken, SessionOrder},

		{MonotonicWrites, "in order", "w1@1-2/0:0 w2@3-4/1:0 r2@5-6/1:1 r1@7-8/0:1", Held, ""},
		{MonotonicWrites, "the first may come late to one who has not seen the second", "w1@1-2/0:0 w2@3-4/1:0 rnil@7-8/0:1", Unknown, ""},
		{MonotonicWrites, "replaced meanwhile", "w1@1-2/0:0 w3@3-4/0:2 w2@3-4/1:0 r2@5-6/1:1 r3@7-8/0:1", Held, ""},
		{MonotonicWrites, "on one key", "w1@1-2:0 w2@3-4:0 r2@5-6:1 r1@7-8:1", Broken, ""},
		{MonotonicWrites, "on one key, the first of three", "w1@1-2:0 w2@3-4:0 w3@5-6:0 r3@7-8:1 r1@9-10:1", Broken, ""},
		{MonotonicWrites, "of two sessions", "w1@1-2/0:0 w2@3-4/1:2 r2@5-6/1:1 rnil@7-8/0:1", Held, ""},
		{MonotonicWrites, "the first was not acknowledged", "w1@1-2!/0:0 w2@3-4/1:0 r2@5-6/1:1 rnil@7-8/0:1", Held, ""},
		{MonotonicWrites, "only sessions count", "w1@1-2/0:0 w2@3-4/1:0 r2@5-6/1:1 rnil@7-8/0:1", Broken, SessionOrder},

		{WritesFollowReads, "in order", "w1@1-2/0:0 r1@3-4/0:1 w2@5-6/1:1 r2@7-8/1:2 r1@9-10/0:2", Held, ""},
		{WritesFollowReads, "it was read after the write", "w1@1-30/0:0 w2@3-4/1:1 r1@5-6/0:1 r2@7-8/1:2 rnil@9-10/0:2", Held, ""},
		{WritesFollowReads, "on one key", "w1@1-2:0 w2@3-4:1 r2@5-6:2 w3@7-8:2 r3@9-10:3 r1@11-12:3", Broken, ""},
		{WritesFollowReads, "only sessions count", "w1@1-2/0:0 r1@3-4/0:1 w2@5-6/1:1 r2@7-8/1:2 rnil@9-10/0:2", Broken, SessionOrder},
	} {
		t.Run(string(c.claim)+" "+c.name, func(t *testing.T) {
			opts := JudgeOptions{Sessions: SessionOptions{Order: c.order}}
			r := opts.checker(c.claim)(Input{History: parse(t, c.history)}, Budget{})
			require.Equal(t, c.want, r.Verdict, r.Reason)
		})
	}
	r := ReadYourWritesWith(SessionOptions{})(Input{History: parse(t, "w1@1-9:0 r1@5-6:0")}, Budget{})
	require.Equal(t, Unknown, r.Verdict)
	require.Contains(t, r.Reason, "overlap")
}

func TestSessionReasons(t *testing.T) {
	for _, c := range []struct {
		claim           Claim
		history, reason string
	}{
		{ReadYourWrites, "w1@1-2:0 w2@3-4:1 r1@5-6:1", `1 of 1 read broken (21–100 %), first on key "k0": process 1's read of 1 (5 ns to 6 ns) saw process 0's write of 1 (1 ns to 2 ns), older than its own process 1's write of 2 (3 ns to 4 ns)`},
		{MonotonicReads, "w1@1-2:0 w2@3-4:1 r2@5-6:2 r1@7-8:2", `1 of 1 read broken (21–100 %), first on key "k0": process 2's read of 1 (7 ns to 8 ns) saw process 0's write of 1 (1 ns to 2 ns), although process 2's read of 2 (5 ns to 6 ns) had seen process 1's write of 2 (3 ns to 4 ns), which is newer`},
		{MonotonicWrites, "w1@1-2/0:0 w2@3-4/1:0 r2@5-6/1:1 rnil@7-8/0:1", `1 of 1 read broken (21–100 %), first on key "k0": process 1's read of nil (7 ns to 8 ns) saw the initial value; but its session had seen process 0's write of 2 (3 ns to 4 ns), before which that one's session had written something newer: process 0's write of 1 (1 ns to 2 ns)`},
		{WritesFollowReads, "w1@1-30/0:0 r1@2-3/0:1 w2@4-5/1:1 r2@6-7/1:2 rnil@8-9/0:2", `1 of 1 read broken (21–100 %), first on key "k0": process 2's read of nil (8 ns to 9 ns) saw the initial value; but its session had seen process 1's write of 2 (4 ns to 5 ns), before which that one's session had read something newer: process 1's read of 1 (2 ns to 3 ns)`},
		{Sequential, "w1@1-30:0 w2@1-30:1 r1@2-3:2 r2@4-5:2 r2@2-3:3 r1@4-5:3", `1 of 1 key broken (21–100 %), first key "k0": no order of the values suits all sessions: process 2's read of 1 (2 ns to 3 ns) came before process 2's read of 2 (4 ns to 5 ns); but process 3's read of 2 (2 ns to 3 ns) came before process 3's read of 1 (4 ns to 5 ns)`},
		{NoResurrections, "w1@1-2:0 d@3-4:1 rnil@5-6:2 r1@7-8:3", `1 of 1 read broken (21–100 %), first on key "k0": process 3's read of 1 (7 ns to 8 ns) saw process 0's write of 1 (1 ns to 2 ns), which process 1's delete (3 ns to 4 ns) had replaced, as process 2's read of nil (5 ns to 6 ns) had seen`},
	} {
		r := JudgeOptions{}.checker(c.claim)(Input{History: parse(t, c.history)}, Budget{})
		require.Equal(t, c.reason, r.Reason)
	}
}
