package nemesis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-chaos/assay/harness"
)

// Members changes who belongs to the cluster, while it serves: a node joins, one
// leaves, or one takes the place of another. The fault is the change itself. It is
// over when it is through, and nothing is undone.
//
//	apply   the disk is lost, or nothing has happened yet; a member is asked for
//	        the change until it is certain
//	heal    the change comes through at every member; who has left is switched off
type Members struct {
	What   string // join, leave or replace
	Of     []int  // the members before
	Add    []int
	Remove []int
	// Lost: the removed nodes die and their disks are gone, and then they are
	// replaced. Otherwise they serve until the change is through.
	Lost bool

	asked bool // somebody was asked for the change
}

// The kinds, and the variants of the last.
const (
	joins       = "join"
	leaves      = "leave"
	replaces    = "replace"
	replaceLost = "lost" // the old node dies, and its disk is gone
	replaceLive = "live" // the old node serves until the new one has taken over
)

var (
	joinKind    = membersKind(joins, "let a node with an empty disk join")
	leaveKind   = membersKind(leaves, "let a node leave")
	replaceKind = membersKind(replaces, "put a node with an empty disk in the place of another", replaceLost, replaceLive)
)

func membersKind(name, doc string, variants ...string) Kind {
	return Kind{
		Name:     name,
		Doc:      doc,
		Variants: variants,
		Needs:    harness.CanReconfigure,
		named:    true,
		once:     name != replaces, // the cluster keeps about its size
		draw: func(d draw) harness.Fault {
			m := &Members{What: name, Of: slices.Clone(d.members)}
			if name != leaves {
				m.Add = []int{d.spare}
			}
			if name != joins {
				if m.Remove = d.pick(1); m.Remove == nil || len(d.members) == 1 && m.Add == nil {
					return nil
				}
			}
			if name == replaces {
				m.Lost = d.variant == replaceLost || d.variant == "" && d.rng.IntN(3) > 0
			}
			return m
		},
		decode: func(data []byte) (harness.Fault, error) {
			m := &Members{}
			return m, json.Unmarshal(data, m)
		},
	}
}

// Kind implements harness.Fault.
func (m *Members) Kind() string { return m.What }

func (m *Members) String() string {
	switch {
	case m.Remove == nil:
		return nodeList(m.Add) + " joins " + nodeList(m.Of)
	case m.Add == nil:
		return nodeList(m.Remove) + " leaves " + nodeList(m.Of)
	case m.Lost:
		return nodeList(m.Remove) + " and its disk are lost, " + nodeList(m.Add) + " takes its place"
	}
	return nodeList(m.Add) + " takes the place of " + nodeList(m.Remove)
}

// Nodes implements harness.Fault.
func (m *Members) Nodes() []int { return sorted(append(slices.Clone(m.Add), m.Remove...)) }

// Change implements harness.Reconfiguration.
func (m *Members) Change() harness.Change {
	return harness.Change{Add: m.Add, Remove: m.Remove, Lost: m.Lost}
}

// after gives the members that there are going to be.
func (m *Members) after() []int {
	return sorted(append(m.without(m.Remove), m.Add...))
}

func (m *Members) without(gone []int) []int {
	return slices.DeleteFunc(slices.Clone(m.Of), func(n int) bool { return slices.Contains(gone, n) })
}

const (
	// membersAsk bounds one question to one node, which may be paused.
	membersAsk = time.Second
	// membersPoll is how often the members are asked whether they have changed.
	membersPoll = 10 * time.Millisecond
)

// Apply waits for any change before, so that no two are made at a time, and then
// has the members changed.
func (m *Members) Apply(ctx context.Context, w harness.World, lease time.Duration) error {
	s, err := reconfigurable(w)
	if err != nil {
		return err
	}
	if err := m.await(ctx, w, func() error {
		_, err := m.anyone(ctx, w, s, m.Of, func(v harness.Membership) bool { return !v.Changing && slices.Equal(v.Nodes, m.Of) })
		return err
	}); err != nil {
		return fmt.Errorf("before the change: %w", err)
	}
	asked := m.Of
	if m.Lost {
		for _, n := range m.Remove {
			if err := w.Wipe(ctx, n); err != nil {
				return err
			}
		}
		asked = m.without(m.Remove)
	}
	m.asked = true
	return m.await(ctx, w, func() error {
		var errs error
		for _, via := range asked {
			err := bounded(ctx, w, func(ctx context.Context) error { return s.Reconfigure(ctx, w, via, m.Change()) })
			if err == nil {
				return nil
			}
			errs = errors.Join(errs, fmt.Errorf("n%d: %w", via, err))
		}
		return errs
	})
}

// ProveApplied asks the members whether one of them knows of the change.
func (m *Members) ProveApplied(ctx context.Context, w harness.World) (string, error) {
	s, err := reconfigurable(w)
	if err != nil {
		return "", err
	}
	told := 0
	if err := m.await(ctx, w, func() (err error) {
		for _, n := range m.Add {
			if st, err := w.Status(ctx, n); err != nil || !st.Up {
				return errors.Join(err, fmt.Errorf("the new node n%d does not run", n))
			}
		}
		told, err = m.anyone(ctx, w, s, m.after(), func(v harness.Membership) bool { return slices.Equal(v.Nodes, m.after()) })
		return err
	}); err != nil {
		return "", err
	}
	evidence := fmt.Sprintf("n%d says that the members are going to be %s", told, nodeList(m.after()))
	if !m.Lost {
		return evidence, nil
	}
	return evidence + ", " + nodeList(m.Remove) + " is down for good", m.gone(ctx, w)
}

// Heal waits until the change is through at every member, and switches the nodes
// off that have left.
func (m *Members) Heal(ctx context.Context, w harness.World) error {
	if !m.asked {
		return nil // there is no change to wait for
	}
	s, err := reconfigurable(w)
	if err != nil {
		return err
	}
	if err := m.await(ctx, w, func() error { return m.through(ctx, w, s) }); err != nil {
		return fmt.Errorf("the change is not through: %w", err)
	}
	if m.Lost {
		return nil
	}
	return each(ctx, w, m.Remove, func(ctx context.Context, _, n int) error { return w.Wipe(ctx, n) })
}

// ProveHealed sees that all members agree on who they are, and that those who are
// none are gone. That the new ones have records and serve is seen by the run.
func (m *Members) ProveHealed(ctx context.Context, w harness.World) (string, error) {
	s, err := reconfigurable(w)
	if err != nil {
		return "", err
	}
	if !m.asked {
		return "", errors.New("nobody was asked for the change")
	}
	if err := errors.Join(m.through(ctx, w, s), m.gone(ctx, w)); err != nil {
		return "", err
	}
	return fmt.Sprintf("each of %s says that they are the members", nodeList(m.after())), nil
}

// gone says that the removed nodes have no process any more.
func (m *Members) gone(ctx context.Context, w harness.World) error {
	for _, n := range m.Remove {
		if st, err := w.Status(ctx, n); err != nil || st.Up {
			return errors.Join(err, fmt.Errorf("n%d still runs", n))
		}
	}
	return nil
}

// through says whether the change is through at every member there is.
func (m *Members) through(ctx context.Context, w harness.World, s harness.Reconfigurable) error {
	for _, n := range m.after() {
		v, err := members(ctx, w, s, n)
		switch {
		case err != nil:
			return err
		case !slices.Equal(v.Nodes, m.after()):
			return fmt.Errorf("n%d says that the members are %s, not %s", n, nodeList(v.Nodes), nodeList(m.after()))
		case v.Changing:
			return fmt.Errorf("n%d says that the change to %s is still under way", n, nodeList(v.Nodes))
		}
	}
	return nil
}

// anyone asks nodes in turn who the members are, until one says what is wanted. It
// gives that node.
func (m *Members) anyone(ctx context.Context, w harness.World, s harness.Reconfigurable, nodes []int, wanted func(harness.Membership) bool) (int, error) {
	var told []string
	for _, n := range nodes {
		v, err := members(ctx, w, s, n)
		switch {
		case err != nil:
			told = append(told, err.Error())
		case wanted(v):
			return n, nil
		case v.Changing:
			told = append(told, fmt.Sprintf("n%d says that the members are changing to %s", n, nodeList(v.Nodes)))
		default:
			told = append(told, fmt.Sprintf("n%d says that the members are %s", n, nodeList(v.Nodes)))
		}
	}
	return -1, errors.New(strings.Join(told, "; "))
}

// members asks one node.
func members(ctx context.Context, w harness.World, s harness.Reconfigurable, n int) (v harness.Membership, err error) {
	err = bounded(ctx, w, func(ctx context.Context) (err error) {
		v, err = s.Members(ctx, w, n)
		return err
	})
	if err != nil {
		return v, fmt.Errorf("n%d: who are the members? %w", n, err)
	}
	return v, nil
}

func bounded(ctx context.Context, w harness.World, f func(ctx context.Context) error) error {
	ctx, cancel := w.Timeout(ctx, membersAsk)
	defer cancel()
	return f(ctx)
}

// await tries until there is no error or no more time.
func (m *Members) await(ctx context.Context, w harness.World, f func() error) error {
	for {
		err := f()
		if err == nil {
			return nil
		}
		if w.Sleep(ctx, membersPoll) != nil {
			return err
		}
	}
}

func reconfigurable(w harness.World) (harness.Reconfigurable, error) {
	if err := w.Supports(harness.CanReconfigure); err != nil {
		return nil, err
	}
	s, ok := w.System().(harness.Reconfigurable)
	if !ok {
		return nil, fmt.Errorf("the world %s says that its members can be changed, and its system %T is no harness.Reconfigurable", w.Name(), w.System())
	}
	return s, nil
}
