package sut

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/docker"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/harness/sim"
	"github.com/assay-chaos/assay/store/replica"
)

// System is the reference store with one profile. It can be run in any world
// that Open knows.
type System struct {
	profile Profile
	self    []string // see RunSelf
}

var _ sim.System = (*System)(nil)

// New makes a system of a profile. That the profile fits the cluster is checked
// when a node boots; [Profile.Validate] tells earlier.
func New(p Profile) *System { return &System{profile: p} }

// RunSelf says that the running program is a node when it is called with the
// arguments, followed by the flags of node.Config, so that containers can be
// made of it.
func (s *System) RunSelf(args ...string) { s.self = args }

// Name gives the profile and its N/R/W.
func (s *System) Name() string {
	p := s.profile
	return fmt.Sprintf("assay-store %s %d/%d/%d", p.Name, p.N, p.R, p.W)
}

// Profile gives the setting that the system runs with.
func (s *System) Profile() Profile { return s.profile }

// Open connects a client to a node.
func (s *System) Open(ctx context.Context, w harness.World, node int) (harness.Client, error) {
	switch w := w.(type) {
	case *sim.World:
		return openSim(w, node, &s.profile)
	case *docker.World:
		return openHTTP(w.Addr(node), &s.profile), nil
	}
	return nil, unknownWorld(w)
}

// Inspect reads what a node itself holds for the keys that it is a replica of.
func (s *System) Inspect(ctx context.Context, w harness.World, node int, keys []string) ([]harness.Replica, error) {
	switch w := w.(type) {
	case *sim.World:
		return inspectSim(w, node, keys)
	case *docker.World:
		return inspectHTTP(ctx, w.Addr(node), keys)
	}
	return nil, unknownWorld(w)
}

func unknownWorld(w harness.World) error {
	return fmt.Errorf("the reference store does not run in the world %q (%T)", w.Name(), w)
}

// request gives the store's request for an operation. Values are decimal
// numbers.
func request(key string, op *history.Op) (replica.Request, error) {
	q := replica.Request{Key: key}
	switch op.F {
	case history.Read:
		q.Op = replica.Get
	case history.Write:
		q.Op, q.Value = replica.Put, encode(op.Arg)
	case history.Delete:
		q.Op = replica.Delete
	case history.CAS:
		q.Op, q.Value = replica.CAS, encode(op.Arg2)
		if q.ExpectAbsent = op.Arg == history.Nil; !q.ExpectAbsent {
			q.Expect = encode(op.Arg)
		}
	default:
		return q, harness.Definite(fmt.Errorf("the reference store has no %v: use read, write, delete and cas", op.F))
	}
	return q, nil
}

// mismatch records what a CAS found that was not done.
func mismatch(op *history.Op, found bool, text []byte, cause error) error {
	if found {
		v, err := decode(text)
		if err != nil {
			return err
		}
		op.Out = v
	}
	return harness.Definite(cause)
}

// encode gives the text of a value.
func encode(v history.Value) []byte { return strconv.AppendInt(nil, int64(v), 10) }

// show fills in what a replica has under a key: a number, or numbers in brackets,
// as those workloads write that keep several values under a key.
func show(r *harness.Replica, text []byte) error {
	r.Present = true
	if len(text) == 0 || text[0] != '[' {
		var err error
		r.Value, err = decode(text)
		return err
	}
	if err := json.Unmarshal(text, &r.Values); err != nil {
		return fmt.Errorf("the store holds %q, which no client wrote: %w", text, err)
	}
	return nil
}

// decode gives the value that is written as text.
func decode(text []byte) (history.Value, error) {
	v, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return history.Nil, fmt.Errorf("the store holds %q, which no client wrote: %w", text, err)
	}
	return history.Value(v), nil
}
