package client

import (
	"crypto/tls"
	"net/http"
	"time"

	"github.com/assay-chaos/assay/store/trust"
)

// NewTLS is [New] for a node that wants to see a certificate. Clients that
// [trust.Load] gives one identity can share it.
//
// That a node refuses the certificate is heard only after the request has
// begun to leave. The error of a write is not definite then, although nothing
// was done.
func NewTLS(addr string, id *trust.Identity) *Client {
	c := New(addr)
	c.scheme = "https"
	// HTTP/1.1 alone, as without TLS: what is said above about sending again
	// holds for its transport.
	c.transport.TLSClientConfig = id.Client()
	c.transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	c.transport.TLSHandshakeTimeout = 5 * time.Second
	return c
}
