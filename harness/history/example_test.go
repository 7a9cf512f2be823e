package history_test

import (
	"fmt"
	"os"
	"strings"

	"github.com/assay-chaos/assay/harness/history"
)

// A history of another tool, as JSON lines.
func ExampleImport() {
	h, err := history.Import(strings.NewReader(`
{"type":"invoke","process":0,"f":"write","key":"x","value":3,"time":1000}
{"type":"invoke","process":1,"f":"read","key":"x","time":1200}
{"type":"ok","process":1,"f":"read","value":3,"time":2100}
{"type":"info","process":0,"f":"write","error":"timeout","time":2500}
`), "example.jsonl")
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range h.Ops {
		o := &h.Ops[i]
		fmt.Println(o.Process, o.F, h.KeyName(o.Key), o.Arg, "->", o.Outcome, o.Out, h.Error(o))
	}
	// Output:
	// 0 write x 3 -> info nil timeout
	// 1 read x 0 -> ok 3
}

// Errors name the file and the line.
func ExampleImportError() {
	_, err := history.Import(strings.NewReader(`
[{:process 0, :type :invoke, :f :write, :value 1}
 {:process 1, :type :ok, :f :write, :value 1}]
`), "run.edn")
	fmt.Println(err)
	// Output: run.edn:3: process 1 completes write, but has invoked nothing
}

func ExampleRecorder() {
	r := history.NewRecorder(nil)
	r.SetKeys([]string{"x"})
	r.Phase(history.PhaseBefore, 0)
	id := r.Invoke(history.Op{F: history.Write, Key: 0, Arg: 7, Process: 4, Node: 1, Call: 100})
	r.Complete(id, history.Nil, history.OK, 250, "")
	if err := r.Close(300); err != nil {
		fmt.Println(err)
	}
	if err := history.ExportEDN(os.Stdout, r.History()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// [{:process 4, :type :invoke, :f :write, :value 7, :key "x", :node 1, :time 100}
	//  {:process 4, :type :ok, :f :write, :value 7, :key "x", :node 1, :time 250}]
}
