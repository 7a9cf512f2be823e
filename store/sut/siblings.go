package sut

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/store/client"
	"github.com/assay-chaos/assay/store/replica"
)

// This file is the clients of a store with causal stamps. They read all values of
// a key, and keep the context of the read:
//
//	ReadAll   gives the siblings, and keeps the context for its process
//	Write     replaces what the process has last read of the key, and nothing else
//	          if that is nothing
//	Add       puts a value beside what is there
//	Delete    takes out what the process has last read of the key
//
// What a process has read is forgotten when an operation ends without a known
// outcome: another process follows then.

var (
	_ harness.Lister = (*simSiblings)(nil)
	_ harness.Lister = (*httpSiblings)(nil)
)

var errOneValue = harness.Definite(errors.New("a key with causal stamps can have several values: use read-all, write, add and delete"))

// simSiblings is a client of one simulated node.
type simSiblings struct {
	simClient
	seen map[string]replica.Context
}

// Invoke performs a Write, Add or Delete.
func (c *simSiblings) Invoke(ctx context.Context, key string, op *history.Op) error {
	q := replica.Request{Key: key, Op: replica.Put, Value: encode(op.Arg)}
	switch op.F {
	case history.Add:
	case history.Write:
		q.Context = c.seen[key]
	case history.Delete:
		q.Op, q.Value = replica.Delete, nil
		if q.Context = c.seen[key]; q.Context == nil {
			q.Context = replica.Context{} // it has seen nothing
		}
	default:
		return errOneValue
	}
	_, err := c.ask(ctx, q)
	if err != nil && !harness.IsDefinite(err) {
		clear(c.seen)
	}
	return err
}

// InvokeAll reads all values of a key.
func (c *simSiblings) InvokeAll(ctx context.Context, key string, _ *history.Op) (history.List, error) {
	p, err := c.ask(ctx, replica.Request{Op: replica.Get, Key: key})
	if err != nil {
		return nil, err
	}
	if p.Siblings == nil {
		return nil, fmt.Errorf("node %d answered without siblings", c.node)
	}
	if c.seen == nil {
		c.seen = make(map[string]replica.Context)
	}
	c.seen[key] = p.Siblings.Context
	return listOf(valuesOf(p.Siblings))
}

// httpSiblings is a client of one real node.
type httpSiblings struct {
	httpClient
	seen map[string]string
}

// Invoke performs a Write, Add or Delete over HTTP.
func (c *httpSiblings) Invoke(ctx context.Context, key string, op *history.Op) (err error) {
	context := client.Context(c.seen[key])
	switch op.F {
	case history.Add:
		_, err = c.node.Put(ctx, key, encode(op.Arg))
	case history.Write:
		_, err = c.node.Put(ctx, key, encode(op.Arg), context)
	case history.Delete:
		if c.seen[key] == "" { // it has seen nothing, and takes nothing out
			return nil
		}
		_, err = c.node.Delete(ctx, key, context)
	default:
		return errOneValue
	}
	if err = known(err); err != nil && !harness.IsDefinite(err) {
		clear(c.seen)
	}
	return err
}

// InvokeAll reads all values of a key over HTTP.
func (c *httpSiblings) InvokeAll(ctx context.Context, key string, _ *history.Op) (history.List, error) {
	r, err := c.node.Get(ctx, key)
	if err != nil {
		return nil, known(err)
	}
	if c.seen == nil {
		c.seen = make(map[string]string)
	}
	c.seen[key] = r.Context
	return listOf(r.Siblings)
}

// known marks what is certain of an operation that failed.
func known(err error) error {
	if client.Definite(err) {
		return harness.Definite(err)
	}
	return err
}

func valuesOf(s *replica.Siblings) [][]byte {
	all := make([][]byte, len(s.Values))
	for i := range s.Values {
		all[i] = s.Values[i].Value
	}
	return all
}

// listOf gives the values that are written as texts, ascending; nil for none.
func listOf(texts [][]byte) (history.List, error) {
	var l history.List
	for _, text := range texts {
		v, err := decode(text)
		if err != nil {
			return nil, err
		}
		l = append(l, v)
	}
	slices.Sort(l)
	return l, nil
}
