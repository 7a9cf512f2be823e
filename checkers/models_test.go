package checkers

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/history"
)

func TestRegisterModels(t *testing.T) {
	for _, c := range []struct {
		name, model, history string
		opts                 Options
		want                 Verdict
	}{
		{"deleted", ModelRegister, "w1@1-2 d@3-4 rnil@5-6", Options{}, Held},
		{"deleted and still there", ModelRegister, "w1@1-2 d@3-4 r1@5-6", Options{}, Broken},
		{"deleted, perhaps", ModelRegister, "w1@1-2 d@3? r1@5-6 rnil@7-8", Options{}, Held},
		{"deleted, perhaps, and back", ModelRegister, "w1@1-2 d@3? rnil@5-6 r1@7-8", Options{}, Broken},
		{"same value twice", ModelRegister, "w1@1-2 w2@3-4 w1@5-6 r1@7-8", Options{}, Held},
		{"cas in a register", ModelRegister, "w1@1-2 c1>2@3-4", Options{}, Unknown},
		{"failed cas in a register", ModelRegister, "w1@1-2 c1>2@3-4!", Options{}, Unknown},
		{"mutex in a register", ModelRegister, "a@1-2", Options{}, Unknown},

		{"cas", ModelCASRegister, "w1@1-2 c1>2@3-4 r2@5-6", Options{}, Held},
		{"cas from another value", ModelCASRegister, "w1@1-2 c3>2@3-4", Options{}, Broken},
		{"two cas from one value", ModelCASRegister, "w1@1-2 c1>2@3-4 c1>3@3-4", Options{}, Broken},
		{"unknown cas happened", ModelCASRegister, "w1@1-2 c1>2@3? r2@5-6", Options{}, Held},
		{"unknown cas did not happen", ModelCASRegister, "w1@1-2 c1>2@3? r1@5-6", Options{}, Held},
		{"unknown cas failed", ModelCASRegister, "w1@1-2 c9>2@3? r1@5-6", Options{}, Held},
		{"unknown cas cannot have happened", ModelCASRegister, "w1@1-2 c9>2@3? r2@5-6", Options{}, Broken},
		{"failed cas told nothing", ModelCASRegister, "w1@1-2 c1>2@3-4! r1@5-6", Options{}, Held},
		{"failed cas observed", ModelCASRegister, "w1@1-2 c1>2@3-4! r1@5-6", Options{FailedCAS: ObserveFailedCAS}, Broken},
		{"failed cas observed another value", ModelCASRegister, "w1@1-2 c3>2@3-4! r1@5-6", Options{FailedCAS: ObserveFailedCAS}, Held},
		{"failed cas failed because of an unknown write", ModelCASRegister, "w1@1-2 w2@3? c1>3@5-6! r2@7-8", Options{FailedCAS: ObserveFailedCAS}, Held},
		{"the same, of a write that nobody saw", ModelCASRegister, "w1@1-2 w2@3? c1>3@5-6! w4@7-8 r4@9-10", Options{FailedCAS: ObserveFailedCAS}, Held},
		{"failed cas told what it saw", ModelCASRegister, "w1@1-2 c3>2=1@3-4!", Options{}, Held},
		{"failed cas told what was not there", ModelCASRegister, "w1@1-2 c3>2=7@3-4!", Options{}, Broken},
		{"initial value", ModelCASRegister, "c0>1@1-2 r1@3-4", Options{Initial: valuePtr(0)}, Held},
		{"other initial value", ModelCASRegister, "c0>1@1-2 r1@3-4", Options{}, Broken},
		{"nil is absent", ModelCASRegister, "w1@1-2 rnil@3-4", Options{}, Broken},
		{"nil is anything", ModelCASRegister, "w1@1-2 rnil@3-4", Options{NilRead: NilAny}, Held},

		{"acquire twice", ModelMutex, "a@1-2 a@3-4", Options{}, Broken},
		{"acquire, release, acquire", ModelMutex, "a@1-2 l@3-4 a@5-6", Options{}, Held},
		{"release of a free one", ModelMutex, "l@1-2", Options{}, Broken},
		{"acquire, perhaps released", ModelMutex, "a@1-2 l@3? a@5-6", Options{}, Held},
		{"perhaps acquired", ModelMutex, "a@1? a@3-4 l@5-6", Options{}, Held},
		{"perhaps acquired, released by another", ModelMutex, "a@1? l@3-4 a@5-6", Options{}, Held},
		{"failed to acquire", ModelMutex, "a@1-2 a@3-4! l@5-6", Options{}, Held},
		{"read of a mutex", ModelMutex, "r1@1-2", Options{}, Unknown},

		{"guessed: cas-register", "", "c1>2@1-2", Options{Initial: valuePtr(1)}, Held},
		{"guessed: mutex", "", "a@1-2 a@3-4", Options{}, Broken},
		{"no such model", "queue", "r1@1-2", Options{}, Unknown},
		{"no such failed-cas", "", "r1@1-2", Options{FailedCAS: "kept"}, Unknown},
		{"no such nil-read", "", "r1@1-2", Options{NilRead: "zero"}, Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := CheckModel(parse(t, c.history), c.model, c.opts, Budget{})
			require.Equal(t, c.want, r.Verdict, r.Reason)
			require.NotEmpty(t, r.Reason)
		})
	}
}

func TestModelsAreListed(t *testing.T) {
	require.Equal(t, []string{"register", "cas-register", "kv", "multi-register", "mutex", "set", "list", "counter", "bank"}, Models())
	for _, name := range Models() {
		m, err := modelFor(&history.History{}, Options{Model: name})
		require.NoError(t, err)
		require.Equal(t, name, m.name)
	}
}

// texts makes a history of one key-value store, an operation after the other
// unless a step says otherwise.
func texts(steps ...history.Op) *history.History {
	h := &history.History{Keys: []string{"x", "y"}, Texts: []string{"", "a", "b", "ab", "ba"}}
	for i, o := range steps {
		if o.Call == 0 {
			o.Call, o.Return = int64(10*i+1), int64(10*i+2)
		}
		o.Process = int32(i)
		h.Ops = append(h.Ops, o)
	}
	return h
}

func TestKVModel(t *testing.T) {
	const empty, a, b, ab, ba = 0, 1, 2, 3, 4
	get := func(v history.Value) history.Op { return history.Op{F: history.Read, Out: v, Outcome: history.OK} }
	put := func(v history.Value) history.Op { return history.Op{F: history.Write, Arg: v, Outcome: history.OK} }
	app := func(v history.Value) history.Op { return history.Op{F: history.Append, Arg: v, Outcome: history.OK} }
	info := func(o history.Op) history.Op { o.Outcome = history.Info; return o }
	fail := func(o history.Op) history.Op { o.Outcome = history.Fail; return o }
	at := func(o history.Op, call, ret int64) history.Op { o.Call, o.Return = call, ret; return o }
	key := func(o history.Op, k int32) history.Op { o.Key = k; return o }
	for _, c := range []struct {
		name string
		h    *history.History
		want Verdict
	}{
		{"append", texts(app(a), app(b), get(ab)), Held},
		{"append in the wrong order", texts(app(a), app(b), get(ba)), Broken},
		{"concurrent appends", texts(at(app(a), 1, 9), at(app(b), 1, 9), at(get(ba), 10, 11)), Held},
		{"put overwrites", texts(app(a), put(b), get(b)), Held},
		{"absent is empty", texts(get(empty), get(history.Nil)), Held},
		{"deleted is empty", texts(put(a), history.Op{F: history.Delete, Outcome: history.OK}, get(empty)), Held},
		{"append lost", texts(app(a), get(empty)), Broken},
		{"unknown append came late", texts(app(a), info(app(b)), get(a), get(ab)), Held},
		{"failed append seen", texts(app(a), fail(app(b)), get(ab)), Broken},
		{"keys apart", texts(app(a), key(app(b), 1), get(a), key(get(b), 1)), Held},
		{"text out of range", texts(app(99)), Unknown},
		{"negative text", texts(app(-3)), Unknown},
		{"cas is not in it", texts(history.Op{F: history.CAS, Outcome: history.OK}), Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, model := range []string{ModelKV, ""} {
				r := CheckModel(c.h, model, Options{}, Budget{})
				require.Equal(t, c.want, r.Verdict, r.Reason)
			}
		})
	}
}

func TestMultiRegisterModel(t *testing.T) {
	read := func(k int32, v history.Value) history.Mop {
		return history.Mop{F: history.Read, Key: k, Value: v}
	}
	write := func(k int32, v history.Value) history.Mop {
		return history.Mop{F: history.Write, Key: k, Value: v}
	}
	zero := Options{Initial: valuePtr(0)}
	for _, c := range []struct {
		name string
		opts Options
		txns []history.Txn
		want Verdict
	}{
		{"both at once", zero, []history.Txn{{write(0, 1), write(1, 1)}, {read(0, 1), read(1, 1)}}, Held},
		{"half of it", zero, []history.Txn{{write(0, 1), write(1, 1)}, {read(0, 1), read(1, 0)}}, Broken},
		{"own write is read", zero, []history.Txn{{write(0, 1), read(0, 1)}}, Held},
		{"read before own write", zero, []history.Txn{{read(0, 0), write(0, 1), read(0, 1)}}, Held},
		{"own write is not read", zero, []history.Txn{{write(0, 1), read(0, 0)}}, Broken},
		{"absent", Options{}, []history.Txn{{read(0, history.Nil)}, {write(0, 1)}, {read(0, history.Nil)}}, Broken},
		{"nil is anything", Options{NilRead: NilAny}, []history.Txn{{read(0, history.Nil)}, {write(0, 1)}, {read(0, history.Nil)}}, Held},
		{"an append inside", zero, []history.Txn{{{F: history.Append}}}, Unknown},
		{"a key out of range", zero, []history.Txn{{write(1<<30, 1)}}, Unknown},
		{"a negative key", zero, []history.Txn{{write(-1, 1)}}, Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &history.History{Keys: []string{"x", "y"}, Txns: c.txns}
			for i := range c.txns {
				h.Ops = append(h.Ops, history.Op{F: history.Transact, Arg: history.Value(i), Out: history.Value(i), Call: int64(10 * i), Return: int64(10*i + 5), Outcome: history.OK})
			}
			r := CheckModel(h, ModelMultiRegister, c.opts, Budget{})
			require.Equal(t, c.want, r.Verdict, r.Reason)
		})
	}

	t.Run("unknown outcome", func(t *testing.T) {
		h := &history.History{Keys: []string{"x", "y"}, Txns: []history.Txn{{write(0, 1), read(1, history.Nil)}, {read(0, 0)}, {read(0, 1)}}}
		for i := range h.Txns {
			h.Ops = append(h.Ops, history.Op{F: history.Transact, Arg: history.Value(i), Out: history.Value(i), Call: int64(10 * i), Return: int64(10*i + 5), Outcome: history.OK})
		}
		h.Ops[0].Outcome = history.Info
		require.Equal(t, Held, CheckModel(h, "", zero, Budget{}).Verdict, "it took effect late")
		h.Ops[1], h.Ops[2] = h.Ops[2], h.Ops[1]
		h.Ops[1].Call, h.Ops[1].Return, h.Ops[2].Call, h.Ops[2].Return = 10, 15, 20, 25
		require.Equal(t, Broken, CheckModel(h, "", zero, Budget{}).Verdict, "seen, then gone")
	})
	t.Run("transaction out of range", func(t *testing.T) {
		h := &history.History{Ops: []history.Op{{F: history.Transact, Arg: 5, Out: 5, Call: 1, Return: 2, Outcome: history.OK}}}
		r := CheckModel(h, ModelMultiRegister, zero, Budget{})
		require.Equal(t, Unknown, r.Verdict)
		require.Contains(t, r.Reason, "txn names transaction 5")
	})
}

// An excerpt starts in a state of which nothing is known.
func TestUnknownState(t *testing.T) {
	for _, c := range []struct {
		model, history string
		legal          bool
	}{
		{ModelCASRegister, "r7@1-2 c7>8@3-4 r8@5-6", true},
		{ModelCASRegister, "r7@1-2 r8@3-4", false},
		{ModelCASRegister, "c7>8@1-2 r7@3-4", false},
		{ModelCASRegister, "c7>8@1? r7@3-4", true},
		{ModelMutex, "l@1-2 a@3-4", true},
		{ModelMutex, "l@1-2 l@3-4", false},
		{ModelMutex, "a@1? a@3-4", true},
	} {
		h := parse(t, c.history)
		m, err := modelFor(h, Options{Model: c.model})
		require.NoError(t, err)
		steps, err := prepare(h, whole(h), m, Options{})
		require.NoError(t, err)
		state, legal := m.unknown(), true
		for i := range steps {
			if legal {
				legal, state = m.apply(state, &steps[i])
			}
			require.NotEmpty(t, m.print(h, state))
		}
		require.Equal(t, c.legal, legal, c.history)
	}
}
