package sim

import (
	"context"
	"math"
	"slices"
	"time"
)

// never is a time that does not come.
const never int64 = math.MaxInt64

// vctx is a context on virtual time. Its deadline is an event in the queue, and
// its cancellation wakes the tasks that wait under it. It belongs to the tasks
// of one world: other goroutines must not use it.
//
// Every vctx hangs under the world's root, which ends when the world is closed.
// A context from outside (Ctrl-C, or one that the standard library derived
// from a vctx) gets a vctx of its own that follows it by polling: see watch.
type vctx struct {
	w        *World
	parent   context.Context // for values
	up       *vctx           // whose end is also the end of this one
	pos      int             // place in up.kids
	kids     []*vctx
	waiters  []*task
	afters   []*after
	deadline int64
	timer    timer
	done     chan struct{} // made when somebody asks
	err      error
	watched  bool // follows parent by polling
}

// after is a function to be called when a context is done.
type after struct{ f func() }

var _ context.Context = (*vctx)(nil)

// newContext derives a context from any other; d is until its deadline, and
// negative for none.
func (w *World) newContext(parent context.Context, d time.Duration) *vctx {
	c := &vctx{w: w, parent: parent, up: w.adopt(parent)}
	c.deadline = c.up.deadline
	if c.up.err != nil {
		c.err = c.up.err
		return c
	}
	c.hang()
	if d < 0 {
		return c
	}
	if at := w.after(d); at < c.deadline {
		c.deadline = at
		var it *item
		it, c.timer = w.queue.push(at, kindDeadline)
		it.msg = c
	}
	return c
}

// adopt finds the vctx that stands for ctx.
func (w *World) adopt(ctx context.Context) *vctx {
	if c, ok := ctx.(*vctx); ok && c.w == w {
		return c
	}
	done := ctx.Done()
	if done == nil {
		return w.root
	}
	// The channel identifies the source of cancellation: contexts with
	// values only share it with their parents.
	for _, c := range w.watches {
		if c.parent.Done() == done {
			return c
		}
	}
	c := &vctx{w: w, parent: ctx, up: w.root, deadline: never, watched: true}
	if c.err = ctx.Err(); c.err == nil {
		c.err = w.root.err
	}
	if c.err == nil {
		c.hang()
		w.watches = append(w.watches, c)
	}
	return c
}

// watch looks whether contexts from outside are done.
func (w *World) watch() {
	w.stirred = false
	for i := 0; i < len(w.watches); i++ {
		c := w.watches[i]
		if err := c.parent.Err(); err != nil {
			c.end(err) // takes it out of watches
			i = -1
		}
	}
}

func (c *vctx) hang() {
	c.pos = len(c.up.kids)
	c.up.kids = append(c.up.kids, c)
}

func (c *vctx) unhang() {
	up := c.up
	if up == nil {
		return
	}
	c.up = nil
	last := len(up.kids) - 1
	up.kids[c.pos] = up.kids[last]
	up.kids[c.pos].pos = c.pos
	up.kids[last] = nil
	up.kids = up.kids[:last]
	up.tidy()
}

// tidy ends the watch over a context that nobody depends on.
func (c *vctx) tidy() {
	if c.watched && c.err == nil && len(c.kids) == 0 && len(c.waiters) == 0 {
		c.unwatch()
	}
}

func (c *vctx) unwatch() {
	if i := slices.Index(c.w.watches, c); i >= 0 {
		c.w.watches = slices.Delete(c.w.watches, i, i+1)
	}
	c.unhang()
}

// end makes the context and everything below it done.
func (c *vctx) end(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	c.w.stirred = true
	c.w.queue.cancel(c.timer)
	if c.done != nil {
		close(c.done)
	}
	if c.watched {
		c.unwatch()
	} else {
		c.unhang()
	}
	kids := c.kids
	c.kids = nil
	for _, k := range kids {
		k.up = nil
		k.end(err)
	}
	for _, t := range c.waiters {
		c.w.wake(t)
	}
	afters := c.afters
	c.afters = nil
	for _, a := range afters {
		a.f()
	}
}

// wait and unwait say that a task is to be woken when the context is done.
func (c *vctx) wait(t *task) { c.waiters = append(c.waiters, t) }

func (c *vctx) unwait(t *task) {
	if i := slices.Index(c.waiters, t); i >= 0 {
		c.waiters = slices.Delete(c.waiters, i, i+1)
	}
	c.tidy()
}

// Deadline is on the world's clock: Epoch plus virtual time.
func (c *vctx) Deadline() (time.Time, bool) {
	if c.deadline == never {
		return time.Time{}, false
	}
	return Epoch.Add(time.Duration(c.deadline)), true
}

func (c *vctx) Done() <-chan struct{} {
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
	}
	return c.done
}

func (c *vctx) Err() error { return c.err }

func (c *vctx) Value(key any) any { return c.parent.Value(key) }

// AfterFunc lets contexts that the standard library derives from this one
// follow it at once, without a goroutine, whose timing would be left to chance.
func (c *vctx) AfterFunc(f func()) (stop func() bool) {
	if c.err != nil {
		f()
		return func() bool { return false }
	}
	a := &after{f}
	c.afters = append(c.afters, a)
	return func() bool {
		i := slices.Index(c.afters, a)
		if i < 0 {
			return false
		}
		c.afters = slices.Delete(c.afters, i, i+1)
		return true
	}
}
