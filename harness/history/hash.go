package history

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// Hash is the SHA-256 of everything the history holds: operations, names,
// texts, transactions, lists, errors, faults with their proofs, phases, and whether it
// is cut. Two simulated runs of one test and seed have the same hash.
func (h *History) Hash() [32]byte {
	s := summer{h: sha256.New(), buf: make([]byte, 0, 8<<10)}
	for _, table := range [][]string{h.Keys, h.Texts, h.Errors} {
		s.int(int64(len(table)))
		for _, t := range table {
			s.string(t)
		}
	}
	s.int(int64(len(h.Txns)))
	for _, t := range h.Txns {
		s.int(int64(len(t)))
		for _, m := range t {
			s.int(int64(m.F))
			s.int(int64(m.Key))
			s.int(int64(m.Value))
		}
	}
	s.int(int64(len(h.Lists)))
	for _, l := range h.Lists {
		s.int(int64(len(l)))
		for _, v := range l {
			s.int(int64(v))
		}
	}
	s.int(int64(len(h.Ops)))
	for i := range h.Ops {
		s.op(&h.Ops[i])
	}
	s.int(int64(len(h.Faults)))
	for i := range h.Faults {
		s.fault(&h.Faults[i])
	}
	s.int(int64(len(h.Phases)))
	for i := range h.Phases {
		p := &h.Phases[i]
		s.string(p.Name)
		s.int(p.Start)
		s.int(p.End)
	}
	s.bool(h.Cut != nil)
	s.h.Write(s.buf)
	return [32]byte(s.h.Sum(nil))
}

// summer feeds a hash. Every variable part is preceded by its length, so that
// different histories never feed the same bytes.
type summer struct {
	h   hash.Hash
	buf []byte
}

func (s *summer) room(n int) {
	if cap(s.buf)-len(s.buf) < n {
		s.h.Write(s.buf)
		s.buf = s.buf[:0]
	}
}

func (s *summer) int(i int64) {
	s.room(8)
	s.buf = binary.LittleEndian.AppendUint64(s.buf, uint64(i))
}

func (s *summer) bool(b bool) {
	if b {
		s.int(1)
		return
	}
	s.int(0)
}

func (s *summer) string(t string) {
	s.int(int64(len(t)))
	s.room(len(t))
	s.buf = append(s.buf, t...)
}

func (s *summer) op(o *Op) {
	s.room(56)
	b := s.buf
	for _, i := range [...]int64{o.Call, o.Return, int64(o.Arg), int64(o.Arg2), int64(o.Out)} {
		b = binary.LittleEndian.AppendUint64(b, uint64(i))
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(o.Process))
	b = binary.LittleEndian.AppendUint32(b, uint32(o.Key))
	b = binary.LittleEndian.AppendUint16(b, uint16(o.Node))
	b = binary.LittleEndian.AppendUint16(b, o.Err)
	s.buf = append(b, byte(o.F), byte(o.Outcome))
}

func (s *summer) fault(f *Fault) {
	s.int(int64(f.ID))
	s.string(f.Kind)
	s.string(f.Detail)
	s.int(int64(len(f.Nodes)))
	for _, n := range f.Nodes {
		s.int(int64(n))
	}
	s.int(f.Start)
	s.int(f.End)
	for _, p := range [...]Proof{f.Effect, f.Recovery} {
		s.bool(p.OK)
		s.int(p.At)
		s.string(p.Evidence)
	}
}
