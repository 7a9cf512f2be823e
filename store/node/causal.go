package node

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
	"github.com/fxamacker/cbor/v2"

	"github.com/assay-chaos/assay/store/httpapi"
	"github.com/assay-chaos/assay/store/replica"
)

// A context travels through clients as a token: base64 (of URLs, unpadded) of
//
//	byte 0      version
//	bytes 1-8   XXH64 of the cluster's name, the key and the body, big endian
//	bytes 9-    CBOR of the [replica.Context]
//
// A context that is not what the store has given, or that of another key or
// cluster, could hide what nobody has seen. The sum keeps such mistakes out; it
// keeps nobody out who means it.
const (
	tokenVersion = 1
	tokenHead    = 1 + 8
)

// contextToken gives a context of a key as a token.
func contextToken(cluster, key string, c replica.Context) string {
	if c == nil {
		c = replica.Context{}
	}
	body, err := cbor.Marshal(c)
	if err != nil {
		panic("node: a context cannot be encoded: " + err.Error()) // it has plain fields only
	}
	token := append(make([]byte, 0, tokenHead+len(body)), tokenVersion)
	token = binary.BigEndian.AppendUint64(token, tokenSum(cluster, key, body))
	return base64.RawURLEncoding.EncodeToString(append(token, body...))
}

// parseContext is the reverse. The token may be anything.
func parseContext(cluster, key, token string) (replica.Context, error) {
	wrong := func(why string) (replica.Context, error) {
		return nil, fmt.Errorf("%s is no context of this key: %s; give what the answer to a GET of the key had there, unchanged, or leave it out", httpapi.HeaderContext, why)
	}
	data, err := base64.RawURLEncoding.DecodeString(token)
	switch {
	case err != nil:
		return wrong("it is no base64")
	case len(data) < tokenHead:
		return wrong("it is too short")
	case data[0] != tokenVersion:
		return wrong(fmt.Sprintf("it has version %d, and this node knows %d", data[0], tokenVersion))
	case binary.BigEndian.Uint64(data[1:]) != tokenSum(cluster, key, data[tokenHead:]):
		return wrong("it was changed, or is of another key or cluster")
	}
	c := replica.Context{}
	if err := decMode.Unmarshal(data[tokenHead:], &c); err != nil {
		return wrong(err.Error())
	}
	if err := c.Validate(); err != nil {
		return wrong(err.Error())
	}
	if c == nil {
		c = replica.Context{}
	}
	return c, nil
}

func tokenSum(cluster, key string, body []byte) uint64 {
	h := xxhash.New()
	head := binary.AppendUvarint(nil, uint64(len(cluster)))
	head = binary.AppendUvarint(append(head, cluster...), uint64(len(key)))
	_, _ = h.Write(append(head, key...)) // it never fails
	_, _ = h.Write(body)
	return h.Sum64()
}

// longText is from which length on, in bytes, a sibling is base64 even if it is
// text: escaped as JSON it could take six times as much, and an answer with all
// siblings has to fit a frame.
const longText = 64 << 10

// siblingsOf gives the values of a key as they stand in JSON.
func siblingsOf(s *replica.Siblings) []httpapi.Sibling {
	all := make([]httpapi.Sibling, len(s.Values))
	for i := range s.Values {
		value := s.Values[i].Value
		if len(value) < longText && utf8.Valid(value) {
			text := string(value)
			all[i].Value = &text
		} else {
			all[i].Value64 = value
		}
	}
	return all
}
