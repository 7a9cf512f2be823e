package history

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// imported is what a history holds, counted.
type imported struct {
	ops, ok, fail, info int // info: with and without completion
	keys, texts, faults int
}

func count(h *History) imported {
	c := imported{ops: len(h.Ops), keys: len(h.Keys), texts: len(h.Texts), faults: len(h.Faults)}
	for i := range h.Ops {
		switch h.Ops[i].Outcome {
		case OK:
			c.ok++
		case Fail:
			c.fail++
		default:
			c.info++
		}
	}
	return c
}

// The numbers were counted in the files with grep.
var outside = map[string]imported{
	"etcd/etcd_000.log":                          {ops: 85, ok: 49, fail: 20, info: 16, keys: 1},
	"etcd/etcd_001.log":                          {ops: 86, ok: 60, fail: 12, info: 14, keys: 1},
	"etcd/etcd_002.log":                          {ops: 77, ok: 45, fail: 13, info: 19, keys: 1},
	"etcd/etcd_005.log":                          {ops: 79, ok: 46, fail: 19, info: 14, keys: 1},
	"etcd/etcd_007.log":                          {ops: 81, ok: 46, fail: 18, info: 17, keys: 1},
	"etcd/etcd_010.log":                          {ops: 84, ok: 48, fail: 25, info: 11, keys: 1},
	"etcd/etcd_018.log":                          {ops: 83, ok: 46, fail: 23, info: 14, keys: 1},
	"etcd/etcd_025.log":                          {ops: 85, ok: 68, fail: 6, info: 11, keys: 1},
	"etcd/etcd_031.log":                          {ops: 81, ok: 48, fail: 17, info: 16, keys: 1},
	"etcd/etcd_099.log":                          {ops: 82, ok: 55, fail: 13, info: 14, keys: 1},
	"knossos/bad/bad-analysis.edn":               {ops: 9, ok: 7, info: 2, keys: 1},
	"knossos/bad/immediate-failure.edn":          {ops: 2, ok: 1, fail: 1, keys: 1},
	"knossos/bad/rethink-fail-minimal.edn":       {ops: 4, ok: 4, keys: 1},
	"knossos/good/cas-register-bug.edn":          {ops: 6, ok: 5, info: 1, keys: 1},
	"knossos/good/memstress3-12.edn":             {ops: 304, ok: 216, fail: 88, keys: 1},
	"knossos/good/memstress3-71.edn":             {ops: 307, ok: 228, fail: 79, keys: 1},
	"knossos/good/mongodb-v0-ack-rollback-1.edn": {ops: 703, ok: 14, fail: 682, info: 7, keys: 1},
	"knossos/good/multi-register.edn":            {ops: 123, ok: 119, fail: 2, info: 2, keys: 3, faults: 1},
	"kv/c01-bad.txt":                             {ops: 38, ok: 38, keys: 8, texts: 14},
	"kv/c01-ok.txt":                              {ops: 58, ok: 58, keys: 10, texts: 27},
	"kv/c10-bad.txt":                             {ops: 405, ok: 405, keys: 10, texts: 239},
	"kv/c10-ok.txt":                              {ops: 337, ok: 337, keys: 10, texts: 206},
}

func TestImportOutsideHistories(t *testing.T) {
	for name, want := range outside {
		t.Run(name, func(t *testing.T) {
			h, err := ImportFile("testdata/" + name)
			require.NoError(t, err)
			require.NoError(t, h.Validate())
			require.Equal(t, want, count(h))
			for i := 1; i < len(h.Ops); i++ {
				require.Less(t, h.Ops[i-1].Call, h.Ops[i].Call, "every event has an instant of its own")
			}
		})
	}
}

func importText(t *testing.T, s string) *History {
	t.Helper()
	h, err := Import(strings.NewReader(s), "h")
	require.NoError(t, err)
	require.NoError(t, h.Validate())
	return h
}

func TestImportMultiRegister(t *testing.T) {
	h, err := ImportFile("testdata/knossos/good/multi-register.edn")
	require.NoError(t, err)
	require.Equal(t, []string{"", "x", "y"}, h.Keys)
	first := h.Ops[0]
	require.Equal(t, Transact, first.F)
	require.Equal(t, "", h.KeyName(first.Key))
	require.Equal(t, Txn{{F: Read, Key: 1, Value: Nil}}, h.Txns[first.Arg])
	require.Equal(t, Txn{{F: Read, Key: 1, Value: 0}}, h.Txns[first.Out])
	require.EqualValues(t, 7686455705, first.Call)
	require.EqualValues(t, 7686455706, h.Ops[1].Call, "an earlier :time later in the file is pushed behind")

	f := h.Faults[0]
	require.Equal(t, "nemesis", f.Kind)
	require.False(t, f.Effect.OK, "nobody observed it")
	require.Equal(t, `"fully connected"`, f.Recovery.Evidence)
	require.EqualValues(t, 57542441018, f.End)
}

// The order of the file decides what precedes what, whatever :time says.
func TestImportOrderIsTheTruth(t *testing.T) {
	for _, times := range [][4]string{
		{"", "", "", ""},
		{":time 5", ":time 5", ":time 5", ":time 5"},
		{":time 9", ":time 3", ":time 7", ":time 1"},
		{":time 100", "", ":time 7", ""},
	} {
		var b strings.Builder
		for i, e := range []string{
			":process 0 :type :invoke :f :write :value 1", ":process 0 :type :ok :f :write",
			":process 1 :type :invoke :f :read", ":process 1 :type :ok :f :read :value 1",
		} {
			b.WriteString("{" + e + " " + times[i] + "}\n")
		}
		h := importText(t, b.String())
		require.Less(t, h.Ops[0].End(), h.Ops[1].Call, "the write precedes the read: %v", times)
		require.Less(t, h.Ops[0].Call, h.Ops[0].Return)
	}
}

func TestImportShapes(t *testing.T) {
	want := importText(t, `[{:process 3, :type :invoke, :f :cas, :value [1 2]} {:process 3, :type :fail, :f :cas, :value [1 2]}]`)
	require.Equal(t, []Op{{Process: 3, F: CAS, Arg: 1, Arg2: 2, Out: Nil, Call: 0, Return: 1, Outcome: Fail, Node: -1}}, want.Ops)
	for name, s := range map[string]string{
		"list":            `({:process 3, :type :invoke, :f :cas, :value [1 2]} {:process 3, :type :fail, :f :cas})`,
		"bare":            "{:process 3, :type :invoke, :f :cas, :value (1 2)}\n\n{:value [1 2] :type :fail, :process 3 :f :cas}",
		"strings":         `{:process 3, :type "invoke", :f "cas", :value [1 +2]} {:process 3, :type "fail", :f "cas"}`,
		"comments":        "; one\n[ ; two {\n{:process 3,,, :type :invoke, :f :cas, ; three\n :value [1 2]}#_{:process 9} {:process 3 :type :fail :f :cas}];end",
		"extra keys":      `{:index 0 :x #{1 2} :y #inst "2015" :z \a :w 1.5e3 :q 2/3 "s" nil :process 3 :type :invoke :f :cas :value [1 2N]} #jepsen.Op{:process 3 :type :fail :f :cas}`,
		"byte order mark": "\xef\xbb\xbf{:process 3, :type :invoke, :f :cas, :value [1 2]} {:process 3, :type :fail, :f :cas}",
		"log":             "INFO  jepsen.util - 3\t:invoke\t:cas\t[1 2]\nINFO  jepsen.util - 3\t:fail\t:cas\t[1 2]\n",
		"log, CR LF":      "\r\nINFO  jepsen.util - 3\t:invoke\t:cas\t[1 2]\r\nINFO  jepsen.util - 3\t:fail\t:cas\t[1 2]\r\n",
		"log, others":     "2015-01-01 INFO  jepsen.core - Running\n2015-01-01 12:00:00,000\tINFO\t[worker] jepsen.util: 3\t:invoke\t:cas\t[1 2]\n2015-01-01 INFO  jepsen.util - 3\t:fail\t:cas\t[1 2]",
		"JSON lines":      "\n{\"type\":\"invoke\",\"process\":3,\"f\":\"cas\",\"value\":[1,2]}\n{\"type\":\"fail\",\"process\":3,\"f\":\"cas\",\"value\":[1,2]}",
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, want, importText(t, s)) })
	}
}

func TestImportReasonsAndNemesis(t *testing.T) {
	h := importText(t, `INFO  jepsen.util - 0	:invoke	:read	nil
INFO  jepsen.util - :nemesis	:info	:start-partition	nil
INFO  jepsen.util - 0	:fail	:read	:timed-out
INFO  jepsen.util - 1	:invoke	:write	3
INFO  jepsen.util - :nemesis	:info	:start-partition	"Cut off n1"
INFO  jepsen.util - 1	:info	:write	3	indeterminate: no answer
INFO  jepsen.util - :nemesis	:info	:stop-partition	nil
INFO  jepsen.util - 2	:invoke	:write	4
`)
	require.Equal(t, []string{"", "timed-out", "indeterminate: no answer"}, h.Errors)
	require.Equal(t, Fail, h.Ops[0].Outcome)
	require.Equal(t, Op{F: Write, Process: 1, Node: -1, Arg: 3, Out: Nil, Call: 3, Return: 5, Err: 2}, h.Ops[1])
	require.Equal(t, Never, h.Ops[2].Return)
	require.Equal(t, []Fault{{Kind: "partition", Start: 1, End: 6,
		Effect: Proof{At: 4, Evidence: `"Cut off n1"`}, Recovery: Proof{At: 6}}}, h.Faults)
}

func TestImportJSONLines(t *testing.T) {
	h := importText(t, `{"type":"history","version":1,"keys":["y","x"]}
{"type":"phase","name":"before","start":0}
{"type":"fault","kind":"kill","detail":"node 1","nodes":[1],"start":12,"end":90,"effect":{"ok":true,"at":13,"evidence":"pid 7 gone"}}
{"type":"invoke","time":10,"process":0,"f":"put","key":"x","value":"a"}
{"type":"invoke","time":10,"process":1,"f":"get","key":"x","node":2}
{"type":"ok","time":10,"process":0,"f":"put"}
{"type":"ok","time":15,"process":1,"f":"get","value":""}
{"type":"end","time":100}
`)
	require.Equal(t, &History{
		Keys: []string{"y", "x"}, Texts: []string{"a", ""}, Errors: []string{""},
		Ops: []Op{
			{F: Write, Key: 1, Process: 0, Node: -1, Arg: 0, Out: Nil, Call: 10, Return: 10, Outcome: OK},
			{F: Read, Key: 1, Process: 1, Node: 2, Out: 1, Call: 10, Return: 15, Outcome: OK},
		},
		Faults: []Fault{{Kind: "kill", Detail: "node 1", Nodes: []int{1}, Start: 12, End: 90, Effect: Proof{OK: true, At: 13, Evidence: "pid 7 gone"}}},
		Phases: []Phase{{"before", 0, 100}},
	}, h)
}

// Whatever is wrong gets an error that names the file and the line.
func TestImportHostile(t *testing.T) {
	const inv = "{:process 0, :type :invoke, :f :write, :value 1}\n"
	const jinv = `{"type":"invoke","process":0,"f":"write","value":1}` + "\n"
	const linv = "INFO  jepsen.util - 0\t:invoke\t:write\t1\n"
	for _, c := range []struct {
		name, in string
		line     int
		want     string
	}{
		{"empty", "", 1, "empty"},
		{"only space", " \n\n\t", 3, "no operation"},
		{"only comments", "; nothing\n;\n", 3, "no operation"},
		{"prose", "\nDear reader", 2, "no history in a format known here"},
		{"binary", "{:a\n \x00\x01", 2, "byte 0x00 is no text"},
		{"Latin-1", "{:process 0\n:f \"\xe9t\xe9\"}", 2, "byte 0xe9 is no UTF-8"},
		{"own format, damaged header", "\x89assay\n\x01\x00\x00\x00", 1, "header"},
		{"own format, other version", magic + "\x07\x00\x00\x00", 1, "version 7"},
		{"JSON array", "[\n{\"type\":\"invoke\"}]", 1, "JSON lines"},

		{"cut in a list", "[" + inv, 2, "the list of line 1 is not closed"},
		{"cut in a map", "[" + inv + "\n{:process 0, :type", 3, "'{' of line 3 is not closed"},
		{"cut bare map", inv + "{:process 0, :type :ok", 2, "'{' of line 2 is not closed"},
		{"cut in a string", inv + "{:process 0, :type :ok, :error \"abc\n\n", 4, "string of line 2 is not closed"},
		{"cut in a character", inv + "\\", 2, "ends in the middle"},
		{"cut after a tag", inv + "#inst", 2, "ends in the middle"},
		{"cut after a discard", inv + "#_", 2, "ends in the middle"},
		{"after the end", "[" + inv + "]\n" + inv, 3, "something follows"},
		{"wrong bracket", "[" + inv + ")", 2, "closes nothing"},
		{"wrong bracket in a map", "{:process 0]", 1, "closes nothing"},
		{"odd map", "{:process}", 1, "key without a value"},
		{"no map", "[" + inv + "7]", 2, "not 7"},
		{"lists in lists", "[[" + inv + "]]", 1, "an operation is a map"},
		{"field twice", "{:process 0 :process 1 :type :invoke :f :read}", 1, ":process twice"},
		{"no process", inv + "{:type :ok :f :write}", 2, "not nothing"},
		{"process of another kind", "{:process :x :type :invoke :f :read}", 1, "not :x"},
		{"negative process", "{:process -1 :type :invoke :f :read}", 1, "process -1"},
		{"large process", "{:process 2147483648 :type :invoke :f :read}", 1, "process 2147483648"},
		{"no type", "{:process 0 :f :read}", 1, ":type is"},
		{"unknown type", inv + "{:process 0 :type :okay :f :write}", 2, `unknown type "okay"`},
		{"no function", "{:process 0 :type :invoke}", 1, ":f is"},
		{"unknown function", "{:process 0 :type :invoke :f :frobnicate}", 1, `unknown function "frobnicate"`},
		{"completion without invocation", "[" + inv + "{:process 1, :type :ok, :f :write, :value 1}]", 2, "process 1 completes write, but has invoked nothing"},
		{"two completions", inv + strings.Repeat("{:process 0, :type :ok, :f :write}\n", 2), 3, "has invoked nothing"},
		{"two invocations", inv + "\n" + inv, 3, "process 0 invokes write while its write of line 1 has no completion"},
		{"completion of another function", inv + "{:process 0 :type :ok :f :read :value 1}", 2, "completes read, but line 1 invoked write"},
		{"completion of another value", inv + "{:process 0 :type :ok :f :write :value 2}", 2, "line 1 invoked it with another value"},
		{"completion of another key", "{:process 0 :type :invoke :f :read :key 1}{:process 0 :type :ok :f :read :key 2}", 1, "another key"},
		{"bad number", "{:process 0 :type :invoke :f :write :value 12x}", 1, `"12x" is no number`},
		{"float", "{:process 0 :type :invoke :f :write :value 1.5}", 1, "1.5 is no value"},
		{"large number", "{:process 0 :type :invoke :f :write :value 9223372036854775808}", 1, "does not fit 64 bits"},
		{"the number that means nil", "{:process 0 :type :invoke :f :write :value -9223372036854775808}", 1, "out of range"},
		{"bad time", "{:process 0 :type :invoke :f :read :time -1}", 1, "time -1"},
		{"time near the end of time", "{:process 0 :type :invoke :f :read :time 9223372036854775807}", 1, "out of range"},
		{"write of nothing", "{:process 0 :type :invoke :f :write}", 1, "write of no value"},
		{"cas of one value", "{:process 0 :type :invoke :f :cas :value 1}", 1, "cas needs two values"},
		{"cas of three", "{:process 0 :type :invoke :f :cas :value [1 2 3]}", 1, "cas needs two values"},
		{"append of a number", "{:process 0 :type :invoke :f :append :value 1}", 1, "append needs a text"},
		{"numbers and texts", inv + "{:process 1 :type :invoke :f :write :value \"1\"}", 2, `value "1" is of another kind than the one of line 1`},
		{"read of a list of lists", "{:process 0 :type :invoke :f :read}\n{:process 0 :type :ok :f :read :value [1 [2]]}", 2, "[2] is no value"},
		{"read of a map", "{:process 0 :type :invoke :f :read}\n{:process 0 :type :ok :f :read :value {1 2}}", 2, "a map is no value"},
		{"read of a keyword", "{:process 0 :type :invoke :f :read}\n{:process 0 :type :ok :f :read :value :timed-out}", 2, ":timed-out is no value"},
		{"bad transaction", "{:process 0 :type :invoke :f :txn :value [[:append :x 1]]}", 1, "a read or a write, not :append"},
		{"another transaction", "{:process 0 :type :invoke :f :txn :value [[:read :x nil]]}{:process 0 :type :ok :f :txn :value [[:read :y 1]]}", 1, "not the one of line 1"},
		{"unknown answer", "{:process 0 :type :invoke :f :txn :value [[:read :x nil]]}{:process 0 :type :ok :f :txn}", 1, "nobody knows what it read"},
		{"keyword of nothing", "{: 1}", 1, "no keyword"},
		{"bad escape", `{:error "\q"}`, 1, `\q means nothing`},
		{"half a character", `{:error "\ud800"}`, 1, "no character"},
		{"deep", strings.Repeat("[", 1<<20), 1, "inside each other"},
		{"deep in a map", "{:a " + strings.Repeat("[", 1<<20), 1, "inside each other"},
		{"deep tags", strings.Repeat("#a ", 1<<20), 1, "inside each other"},
		{"deep discards", strings.Repeat("#_ ", 1<<20), 1, "inside each other"},
		{"wide", "{:a [" + strings.Repeat("0 ", 1<<20), 1, "parts"},

		{"log: no log line", linv + "hello\n", 2, "no line of a Jepsen log"},
		{"log: cut before the value", linv + "INFO  jepsen.util - 0\t:ok\t:write", 2, "ends before the value"},
		{"log: cut in a value", linv + "INFO  jepsen.util - 1\t:invoke\t:cas\t[1 ", 2, "not closed"},
		{"log: perhaps cut in a number", linv + "INFO  jepsen.util - 0\t:ok\t:write\t1", 2, "may be cut off"},
		{"log: cut in the logger", linv + "INFO  jepsen.ut", 2, "may be cut off"},
		{"log: bad type", linv + "INFO  jepsen.util - 0\tok\t:write\t1\n", 2, "keyword"},
		{"log: bad process", "INFO  jepsen.util - x\t:ok\t:write\t1\n", 1, "not x"},
		{"log: two invocations", linv + linv, 2, "while its write of line 1"},

		{"JSON: cut", jinv + `{"type":"ok","process":0,"f":"wri`, 2, "ends in the middle"},
		{"JSON: unknown field", jinv + `{"type":"ok","process":0,"f":"write","vaule":3}`, 2, `unknown field "vaule"`},
		{"JSON: two on a line", jinv + `{"type":"ok","process":0,"f":"write"} {}`, 2, "a line of its own"},
		{"JSON: no object", jinv + `[1]`, 2, "array"},
		{"JSON: float", `{"type":"invoke","process":0,"f":"write","value":1.5}`, 1, "1.5 is no whole number"},
		{"JSON: float process", `{"type":"invoke","process":0.5,"f":"read"}`, 1, "0.5"},
		{"JSON: no process", `{"type":"invoke","f":"read"}`, 1, "no process"},
		{"JSON: no type", `{"process":1,"f":"read"}`, 1, "no type"},
		{"JSON: value is an object", `{"type":"invoke","process":0,"f":"write","value":{}}`, 1, "a map is no value"},
		{"JSON: time goes back", `{"type":"invoke","process":0,"f":"read","time":5}` + "\n" + `{"type":"ok","process":0,"f":"read","time":4}`, 2, "time 4 is before"},
		{"JSON: time here and there", `{"type":"invoke","process":0,"f":"read","time":5}` + "\n" + `{"type":"ok","process":0,"f":"read"}`, 2, "to all or to none"},
		{"JSON: late header", jinv + `{"type":"history","version":1}`, 2, "first line"},
		{"JSON: version", `{"type":"history","version":2}`, 1, "version 2"},
		{"JSON: after the end", `{"type":"end","time":5}` + "\n" + jinv, 2, "after the end"},
		{"JSON: phases backwards", `{"type":"phase","name":"a","start":5}` + "\n" + `{"type":"phase","name":"b","start":4}`, 2, `phase "b" starts before`},
		{"JSON: seen of a write", jinv + `{"type":"fail","process":0,"f":"write","seen":3}`, 2, "only a cas that failed"},
		{"JSON: deep", jinv + `{"value":` + strings.Repeat("[", 1<<20), 2, ""},
		{"JSON: binary", jinv + "{\"f\":\"\x01\"}", 2, "byte 0x01"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := Import(strings.NewReader(c.in), "dir/h.edn")
			require.Nil(t, h)
			var ie *ImportError
			require.ErrorAs(t, err, &ie)
			require.ErrorContains(t, err, c.want)
			require.Equal(t, c.line, ie.Line, err.Error())
			require.Equal(t, "dir/h.edn", ie.File)
		})
	}
}

// endless gives a prefix, and then one letter as often as is asked.
type endless struct {
	prefix string
	letter byte
	n      int
}

func (e *endless) Read(p []byte) (int, error) {
	if len(e.prefix) > 0 {
		n := copy(p, e.prefix)
		e.prefix = e.prefix[n:]
		return n, nil
	}
	for i := range p {
		p[i] = e.letter
	}
	e.n += len(p)
	return len(p), nil
}

func TestImportEndlessLine(t *testing.T) {
	for prefix, letter := range map[string]byte{
		"{:process 0 :error \"": 'a', "{:process 0 :error ": 'a', "[": ' ', "{:a ;": ' ',
		`{"type":"`: 'a', `{"type":"ok"`: ' ', "INFO jepsen.util - ": 'a', "; ": ' ',
	} {
		e := &endless{prefix: prefix, letter: letter}
		_, err := Import(e, "h")
		require.Error(t, err, "%q", prefix)
		require.True(t, strings.HasPrefix(err.Error(), "h:1: "), err.Error())
		require.Less(t, e.n, 2*maxLine, "it stopped reading")
	}
}

func TestImportOwnFormatUpToTheCut(t *testing.T) {
	var file bytes.Buffer
	r := NewRecorder(&file)
	r.Key("x")
	r.Complete(r.Invoke(Op{F: Write, Arg: 1}), Nil, OK, 1, "")
	require.NoError(t, r.Flush())
	r.Invoke(Op{F: Read, Call: 2})
	require.NoError(t, r.Flush())
	h, err := Import(bytes.NewReader(file.Bytes()[:file.Len()-1]), "h")
	require.NoError(t, err)
	require.Len(t, h.Ops, 1)
	require.Error(t, h.Cut)
}

// Jepsen's tests of sets read with :read, which tells only when it is done that
// it is a read of all. Reads of the same key that saw nothing are such too.
func TestImportReadsOfAll(t *testing.T) {
	h := importText(t, `[{:process 0 :type :invoke :f :read} {:process 0 :type :ok :f :read :value nil}
{:process 1 :type :invoke :f :add :value 3} {:process 1 :type :ok :f :add :value 3}
{:process 2 :type :invoke :f :read :value nil} {:process 2 :type :ok :f :read :value #{3}}
{:process 3 :type :invoke :f :read} {:process 3 :type :info :f :read :error :timeout}
{:process 4 :type :invoke :f :read} {:process 4 :type :ok :f :read :value [3 4]}
{:process 4 :type :invoke :f :read :key "n"} {:process 4 :type :ok :f :read :value 9}]`)
	var got []string
	for i := range h.Ops {
		got = append(got, h.Ops[i].F.String()+" "+h.Ops[i].Out.String())
	}
	require.Equal(t, []string{"read-all nil", "add nil", "read-all 0", "read-all nil", "read-all 1", "read 9"}, got)
	require.Equal(t, []List{{3}, {3, 4}}, h.Lists)
}
