package agent

import (
	"context"
	"encoding/json"
)

// host is the agent in the namespaces of the engine's machine. That it cannot
// cut links is no reason not to start: the rest still works.
type host struct {
	fabric fabric
	usable bool
}

func (h *host) hello() (any, error) {
	owner, err := h.fabric.start()
	if err != nil {
		return HostHello{CutError: err.Error()}, nil
	}
	h.usable = true
	return HostHello{Owner: owner}, nil
}

func (h *host) handle(_ context.Context, op string, raw json.RawMessage) (any, error) {
	switch op {
	case OpCut:
		a, err := args[CutArgs](op, raw)
		if err != nil {
			return nil, err
		}
		return nil, h.fabric.cut(a.Links)
	case OpWork:
		a, err := args[WorkArgs](op, raw)
		if err != nil {
			return nil, err
		}
		ns, err := processorTime("/proc", a.PID)
		return WorkResult{NS: ns}, err
	}
	return nil, unknownOp(op)
}

func (h *host) done() <-chan struct{} { return nil }

func (h *host) close() error {
	if !h.usable {
		return nil
	}
	return h.fabric.close()
}
