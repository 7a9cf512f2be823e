package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// probeMagic starts every probe packet, so that stray traffic is no proof.
const probeMagic = "assay-probe "

// maxSeen bounds the memory for probes that nobody has asked about yet.
const maxSeen = 4096

// holder owns a node's place in the network. A probe goes one way: the sender
// sends, and the receiver's agent is asked over its own channel whether it
// came. So a link that is cut in one direction only is seen as that.
type holder struct {
	conn net.PacketConn

	mu    sync.Mutex
	seen  map[string]bool
	order []string                   // of seen, oldest first
	wait  map[string][]chan struct{} // by nonce
}

func (h *holder) hello() (any, error) {
	conn, err := net.ListenPacket("udp4", ":0")
	if err != nil {
		return nil, fmt.Errorf("open the probe socket: %w", err)
	}
	h.conn = conn
	h.seen = map[string]bool{}
	h.wait = map[string][]chan struct{}{}
	go h.receive()
	return HolderHello{ProbePort: conn.LocalAddr().(*net.UDPAddr).Port}, nil
}

func (h *holder) receive() {
	buf := make([]byte, 256)
	for {
		n, _, err := h.conn.ReadFrom(buf)
		if err != nil {
			return // closed
		}
		if nonce, ok := strings.CutPrefix(string(buf[:n]), probeMagic); ok {
			h.arrived(nonce)
		}
	}
}

func (h *holder) arrived(nonce string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.seen[nonce] {
		return
	}
	h.seen[nonce] = true
	h.order = append(h.order, nonce)
	if len(h.order) > maxSeen {
		delete(h.seen, h.order[0])
		h.order = h.order[1:]
	}
	for _, c := range h.wait[nonce] {
		close(c)
	}
	delete(h.wait, nonce)
}

func (h *holder) handle(ctx context.Context, op string, raw json.RawMessage) (any, error) {
	switch op {
	case OpTime:
		return TimeResult{UnixNano: time.Now().UnixNano()}, nil
	case OpSend:
		a, err := args[SendArgs](op, raw)
		if err != nil {
			return nil, err
		}
		return nil, h.send(ctx, a)
	case OpAwait:
		a, err := args[AwaitArgs](op, raw)
		if err != nil {
			return nil, err
		}
		return AwaitResult{Arrived: h.await(ctx, a.Nonce, time.Duration(a.MS)*time.Millisecond)}, nil
	}
	return nil, unknownOp(op)
}

func (h *holder) send(ctx context.Context, a SendArgs) error {
	to, err := net.ResolveUDPAddr("udp4", a.To)
	if err != nil {
		return fmt.Errorf("probe to %s: %w", a.To, err)
	}
	for i := range a.Tries {
		if i > 0 {
			select {
			case <-time.After(time.Duration(a.GapMS) * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if _, err := h.conn.WriteTo([]byte(probeMagic+a.Nonce), to); err != nil {
			return fmt.Errorf("probe to %s: %w", a.To, err)
		}
	}
	return nil
}

func (h *holder) await(ctx context.Context, nonce string, d time.Duration) bool {
	h.mu.Lock()
	if h.seen[nonce] {
		h.mu.Unlock()
		return true
	}
	c := make(chan struct{})
	h.wait[nonce] = append(h.wait[nonce], c)
	h.mu.Unlock()
	select {
	case <-c:
		return true
	case <-time.After(d):
	case <-ctx.Done():
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.wait, nonce)
	return h.seen[nonce]
}

func (h *holder) done() <-chan struct{} { return nil }

func (h *holder) close() error {
	if h.conn == nil {
		return nil
	}
	return h.conn.Close()
}
