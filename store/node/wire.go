package node

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/assay-chaos/assay/store/httpapi"
	"github.com/assay-chaos/assay/store/replica"
)

// Nodes talk gRPC. Each opens one stream to every other and sends batches of
// messages on it; nothing comes back on that stream, since answers travel on
// the stream of the other direction. A batch is a CBOR array of
// [replica.Message]. There is no protobuf and no generated code.
const (
	serviceName = "assay.store.Peer"
	methodName  = "Send"
	fullMethod  = "/" + serviceName + "/" + methodName
)

// The stream's metadata: who is talking to whom, under which settings. The
// receiver refuses what does not fit.
const (
	metaCluster  = "assay-cluster"
	metaFrom     = "assay-from"
	metaTo       = "assay-to"
	metaSettings = "assay-settings"
)

// maxBatch bounds a batch on the wire, in bytes: batchBytes, the message that
// crossed that line, and the encoding around both.
const maxBatch = 2*batchBytes + httpapi.MaxValue

var streamDesc = grpc.StreamDesc{StreamName: methodName, ClientStreams: true}

// Keys are any bytes, so they travel as CBOR byte strings: CBOR text is UTF-8.
var (
	encMode = must(cbor.EncOptions{String: cbor.StringToByteString}.EncMode())
	decMode = must(cbor.DecOptions{ByteStringToString: cbor.ByteStringToStringAllowed}.DecMode())
)

// must is for options that are constant: an error is a mistake of this file.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// codec carries batches. It is given to gRPC directly and not registered, so
// it has no effect on other users of gRPC in the process.
type codec struct{}

func (codec) Name() string { return "assay-cbor" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	batch, ok := v.(*[]replica.Message)
	if !ok {
		return nil, fmt.Errorf("node: cannot encode a %T", v)
	}
	data, err := encMode.Marshal(*batch)
	if err != nil {
		return nil, fmt.Errorf("node: encode batch: %w", err)
	}
	return mem.BufferSlice{mem.SliceBuffer(data)}, nil
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	batch, ok := v.(*[]replica.Message)
	if !ok {
		return fmt.Errorf("node: cannot decode a %T", v)
	}
	return decodeBatch(data.Materialize(), batch)
}

// decodeBatch takes bytes from the network: whatever they are, it gives a
// batch that the core can be given, or an error.
func decodeBatch(data []byte, batch *[]replica.Message) error {
	if err := decMode.Unmarshal(data, batch); err != nil {
		return fmt.Errorf("malformed batch of %d bytes: %w", len(data), err)
	}
	for i := range *batch {
		m := &(*batch)[i]
		switch {
		case !m.Type.Known():
			return fmt.Errorf("malformed batch: message %d is of unknown type %d", i, m.Type)
		case len(m.Key) > httpapi.MaxKey:
			return fmt.Errorf("malformed batch: message %d has a key of %d bytes", i, len(m.Key))
		case len(m.Record.Value) > httpapi.MaxValue:
			return fmt.Errorf("malformed batch: message %d has a value of %d bytes", i, len(m.Record.Value))
		case m.Tree == nil:
			continue
		}
		for _, v := range m.Tree.Keys {
			if len(v.Key) > httpapi.MaxKey {
				return fmt.Errorf("malformed batch: message %d lists a key of %d bytes", i, len(v.Key))
			}
		}
	}
	return nil
}
