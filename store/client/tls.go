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
	t := newHTTPTransport()
	t.TLSClientConfig = id.Client()
	// HTTP/1.1 alone, as without TLS: what is said above about sending again
	// holds for its transport.
	t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	t.TLSHandshakeTimeout = 5 * time.Second
	return &Client{addr: addr, scheme: "https", transport: t}
}
