package sim

import (
	"context"
	"errors"

	"github.com/assay-chaos/assay/harness"
)

// toy is a system whose nodes are made by a function.
type toy struct {
	boot func(h Host) (Node, error)
}

func (toy) Name() string { return "toy" }
func (toy) Open(context.Context, harness.World, int) (harness.Client, error) {
	return nil, errors.ErrUnsupported
}
func (toy) Inspect(context.Context, harness.World, int, []string) ([]harness.Replica, error) {
	return nil, errors.ErrUnsupported
}
func (s toy) Boot(h Host) (Node, error) { return s.boot(h) }

// puppet is a node whose reactions are functions; a nil one is no reaction.
type puppet struct {
	receive func(from int, msg any)
	request func(id uint64, req any)
	wake    func()
	synced  func(token uint64)
}

func (p *puppet) Receive(from int, msg any) {
	if p.receive != nil {
		p.receive(from, msg)
	}
}

func (p *puppet) Request(id uint64, req any) {
	if p.request != nil {
		p.request(id, req)
	}
}

func (p *puppet) Wake() {
	if p.wake != nil {
		p.wake()
	}
}

func (p *puppet) Synced(token uint64) {
	if p.synced != nil {
		p.synced(token)
	}
}

// echoSystem answers every request with the request.
func echoSystem() System {
	return toy{func(h Host) (Node, error) {
		return &puppet{request: func(id uint64, req any) { h.Reply(id, req) }}, nil
	}}
}
