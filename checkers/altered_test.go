package checkers

import (
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/history"
)

// alteration is one change to the conditions of the zone decision.
type alteration struct {
	noReadBeforeWrite, atOnceBeforeWrite bool
	noForward, atOnceForward             bool
	noBackward, atOnceBackward           bool
	noInitial, initialAtFirstCall        bool
	infoEnds, infoDropped                bool
	failedKept, infoReadsNil             bool
}

// restated is the zone decision in other words, plain and quadratic, with every
// condition open to alteration.
func restated(ops []history.Op, a alteration) Verdict {
	type zone struct{ f, s, call int64 }
	all := make(map[history.Value]*zone)
	if !a.noInitial {
		z := &zone{f: beginning, s: beginning, call: beginning}
		if a.initialAtFirstCall {
			z.f = ops[0].Call
			z.s, z.call = z.f, z.f
		}
		all[history.Nil] = z
	}
	for _, o := range ops {
		if o.F != history.Write || o.Outcome == history.Fail && !a.failedKept || o.Outcome == history.Info && a.infoDropped {
			continue
		}
		z := &zone{f: o.End(), s: o.Call, call: o.Call}
		if o.Outcome == history.Info && a.infoEnds {
			z.f = o.Call + 3
		}
		all[o.Arg] = z
	}
	for _, o := range ops {
		if o.F != history.Read || o.Outcome == history.Fail || o.Outcome == history.Info && !a.infoReadsNil {
			continue
		}
		z := all[o.Out]
		if z == nil {
			if a.noInitial && o.Out == history.Nil {
				continue
			}
			return Broken
		}
		if !a.noReadBeforeWrite && (o.Return < z.call || a.atOnceBeforeWrite && o.Return == z.call) {
			return Broken
		}
		z.f, z.s = min(z.f, o.Return), max(z.s, o.Call)
	}
	for v, x := range all {
		for w, y := range all {
			if v == w || x.f >= x.s {
				continue
			}
			apart := max(x.f, y.f) - min(x.s, y.s) // below 0: both are in force at one time
			switch {
			case y.f < y.s:
				if !a.noForward && (max(x.f, y.f) < min(x.s, y.s) || a.atOnceForward && apart == 0) {
					return Broken
				}
			case !a.noBackward && (x.f < y.s && y.f < x.s || a.atOnceBackward && x.f <= y.s && y.f <= x.s):
				return Broken
			}
		}
	}
	return Held
}

// Every condition of the zone decision is needed, and the random histories that
// the decisions are compared on notice the lack of each.
func TestEveryConditionIsNeeded(t *testing.T) {
	altered := map[string]alteration{
		"reads before their write let through":         {noReadBeforeWrite: true},
		"read and write compared with <=":              {atOnceBeforeWrite: true},
		"forward zones not compared":                   {noForward: true},
		"forward zones compared with <=":               {atOnceForward: true},
		"backward zones not looked at":                 {noBackward: true},
		"backward zones compared with <=":              {atOnceBackward: true},
		"no cluster for the initial value":             {noInitial: true},
		"initial value written at the first call":      {initialAtFirstCall: true},
		"a write of unknown outcome ends":              {infoEnds: true},
		"writes of unknown outcome dropped, also read": {infoDropped: true},
		"failed writes kept":                           {failedKept: true},
		"reads of unknown outcome kept, as of nil":     {infoReadsNil: true},
	}
	wrong := make(map[string]int)
	r := small{Rand: rand.New(rand.NewPCG(51, 1)), maxOps: 10}
	for range 10_000 {
		ops := r.history()
		want := verdictOf(oracle(ops, Options{}))
		require.Equal(t, want, restated(ops, alteration{}), notation(ops))
		for name, a := range altered {
			if restated(ops, a) != want {
				wrong[name]++
			}
		}
	}
	for name := range altered {
		require.Greater(t, wrong[name], 10, "%s: not noticed", name)
	}
}

var mutants = flag.Bool("mutants", false, "also break the checkers themselves, one place at a time, and see that their tests notice")

// Every one of these changes to the checkers makes the comparison of the
// decisions fail. It takes some minutes:
//
//	go test ./checkers -run '^TestMutants$' -mutants -timeout 0
func TestMutants(t *testing.T) {
	if !*mutants {
		t.Skip("a change and a build each: asked for with -mutants")
	}
	for _, m := range []struct{ file, from, to string }{
		{"zone.go", "o.Return < w.Call {", "w.Call < w.Call {"},
		{"zone.go", "o.Return < w.Call {", "o.Return <= w.Call {"},
		{"zone.go", "if b.f < a.s {", "if false {"},
		{"zone.go", "if b.f < a.s {", "if b.f <= a.s {"},
		{"zone.go", "c.f < f.s {", "false {"},
		{"zone.go", "c.f < f.s {", "c.f <= f.s {"},
		{"zone.go", "return all[forward[i]].f < t", "return all[forward[i]].f <= t"},
		{"zone.go", "if initially.last != noOp {", "if false {"},
		{"zone.go", "initially := cluster{value: initial, f: beginning, s: beginning,", "initially := cluster{value: initial, f: v.at(0).Call, s: v.at(0).Call,"},
		{"zone.go", "value: o.Arg, f: o.End(), s: o.Call,\n\t\t\twrite:", "value: o.Arg, f: o.Return, s: o.Call,\n\t\t\twrite:"},
		{"zone.go", "c.unread = false", "c.unread = c.unread"},
		{"chain.go", "if l.from == fromNothing {", "if l.from == fromNothing && false {"},
		{"chain.go", "other != noLink {", "false {"},
		{"chain.go", "end < b.s {", "false {"},
		{"chain.go", "end < b.s {", "end <= b.s {"},
		{"chain.go", "if seen < 0 {", "if false {"},
		{"chain.go", "x = l.from\n", "break\n"},
		{"online.go", "if op.Return < l.call {", "if false {"},
		{"online.go", "case op.Return < o.bound:", "case true:"},
		{"onlinechain.go", "l.next != none && call > o.live[l.next].onward", "false"},
		{"unread.go", "delete(unread, valueOf{e.Op.Key, value})", "_ = value"},
		{"unread.go", "delete(unread, valueOf{e.Op.Key, e.Op.Arg})", "_ = unread"},
		{"onlinechain.go", "g.f < c.s && c.f < g.s {", "false {"},
		{"onlinechain.go", "g.f < c.s && c.f < g.s {", "g.f <= c.s && c.f < g.s {"},
		{"onlinechain.go", "g.f < c.s && c.f < g.s {", "g.f < c.s && c.f <= g.s {"},
		{"onlinechain.go", "&& r.window[i].top > c.f; i--", "&& r.window[i].top > c.s; i--"},
		{"online.go", "t = min(t, call)\n", "_ = call\n"},
		{"onlinechain.go", "if c.f >= t || c.f >= other {", "if c.f >= t || c.f > other {"},
		{"onlinechain.go", "case c.f >= t:", "case false:"},
		{"onlinechain.go", "if w.chain == who {", "if who == none {"},
		{"onlinechain.go", ".onward < t; x = c.head", ".onward <= t; x = c.head"},
		{"onlinechain.go", "if before.next != none {", "if false {"},
		{"cut.go", "end < steps[i].call {", "end <= steps[i].call {"},
		{"cut.go", "if m.equal(e, state) {", "if m.equal(e, e) {"},
		{"porcupine.go", "if !f.seen && !blind {", "if !f.seen && (!blind || blind) {"},
	} {
		t.Run(m.file+": "+m.to, func(t *testing.T) {
			source, err := os.ReadFile(m.file)
			require.NoError(t, err)
			require.True(t, strings.Contains(string(source), m.from), "%q is not there any more", m.from)
			broken := strings.ReplaceAll(string(source), m.from, m.to)
			dir := t.TempDir()
			changed := filepath.Join(dir, m.file)
			require.NoError(t, os.WriteFile(changed, []byte(broken), 0o600))
			here, err := filepath.Abs(m.file)
			require.NoError(t, err)
			overlay, err := json.Marshal(map[string]map[string]string{"Replace": {here: changed}})
			require.NoError(t, err)
			file := filepath.Join(dir, "overlay.json")
			require.NoError(t, os.WriteFile(file, overlay, 0o600))
			out, err := exec.CommandContext(t.Context(), "go", "test", "-overlay", file, "-vet=off", "-count=1", "-run", "^Test(DecisionsAgree|OnlineSaysSo|PiecesAgree|Stream)", ".", "-args", "-histories", "20000").CombinedOutput()
			require.Error(t, err, "nobody noticed")
			require.NotContains(t, string(out), "build failed", string(out))
		})
	}
}
