package engine

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/assay-chaos/assay/store/replica"
)

// diskCausal is a record of a key with causal stamps. Its stamp follows from the
// rest.
type diskCausal struct {
	_       struct{} `cbor:",toarray"`
	Context []diskRange
	Values  []diskSibling
	Born    diskDot
}

type diskDot struct {
	_    struct{} `cbor:",toarray"`
	Node uint32
	Boot uint64
	Seq  uint64
}

type diskRange struct {
	_           struct{} `cbor:",toarray"`
	First, Last diskDot
}

type diskSibling struct {
	_     struct{} `cbor:",toarray"`
	Dot   diskDot
	Value []byte
}

func toDiskDot(d replica.Dot) diskDot {
	return diskDot{Node: uint32(d.Node), Boot: d.Boot, Seq: d.Seq}
}

func (d diskDot) dot() replica.Dot {
	return replica.Dot{Node: replica.NodeID(d.Node), Boot: d.Boot, Seq: d.Seq}
}

func encodeCausal(key []byte, s *replica.Siblings) ([]byte, error) {
	d := diskCausal{Born: toDiskDot(s.Born)}
	for _, r := range s.Context {
		d.Context = append(d.Context, diskRange{First: toDiskDot(r.First), Last: toDiskDot(r.Last)})
	}
	for i := range s.Values {
		d.Values = append(d.Values, diskSibling{Dot: toDiskDot(s.Values[i].Dot), Value: s.Values[i].Value})
	}
	body, err := cbor.Marshal(&d)
	if err != nil {
		return nil, err
	}
	return seal(key, sealCausal, body), nil
}

func decodeCausal(body []byte) (replica.Record, error) {
	var d diskCausal
	if err := cbor.Unmarshal(body, &d); err != nil {
		return replica.Record{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	s := &replica.Siblings{Born: d.Born.dot()}
	for _, r := range d.Context {
		s.Context = append(s.Context, replica.Range{First: r.First.dot(), Last: r.Last.dot()})
	}
	for i := range d.Values {
		s.Values = append(s.Values, replica.Sibling{Dot: d.Values[i].Dot.dot(), Value: d.Values[i].Value})
	}
	if err := s.Validate(); err != nil {
		return replica.Record{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return s.Record(), nil
}
