package harness

import (
	"context"
	"sync"
	"time"
)

// opContext is the context of one operation. It does what
// context.WithTimeout does, but sets up the timer and the registration with
// its parent only when somebody asks for Done: a client that answers without
// asking costs neither.
type opContext struct {
	parent   context.Context
	deadline time.Time

	mu       sync.Mutex
	inner    context.Context // made by the first Done
	cancel   context.CancelFunc
	finished bool
}

var _ context.Context = (*opContext)(nil)

func newOpContext(parent context.Context, timeout time.Duration) *opContext {
	return &opContext{parent: parent, deadline: time.Now().Add(timeout)}
}

// finish ends the context, as a cancel function does.
func (c *opContext) finish() {
	c.mu.Lock()
	c.finished = true
	cancel := c.cancel
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// real gives the context behind this one.
func (c *opContext) real() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		c.inner, c.cancel = context.WithDeadline(c.parent, c.deadline)
		if c.finished {
			c.cancel()
		}
	}
	return c.inner
}

func (c *opContext) Deadline() (time.Time, bool) { return c.deadline, true }
func (c *opContext) Done() <-chan struct{}       { return c.real().Done() }
func (c *opContext) Err() error                  { return c.real().Err() }

// Value asks the real context, once there is one: the standard library finds
// a cancellable parent that way, and then needs no goroutine to watch it.
func (c *opContext) Value(key any) any {
	c.mu.Lock()
	inner := c.inner
	c.mu.Unlock()
	if inner == nil {
		inner = c.parent
	}
	return inner.Value(key)
}
