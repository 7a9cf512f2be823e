// Package trust is who may talk to whom: mutual TLS between nodes, and between
// clients and nodes. Both ends of a connection show a certificate of one
// authority, and refuse whoever cannot.
//
// The authority signs two kinds of certificates. A node's may be used for
// server and client authentication and names the hosts at which the node is
// reached. A client's may be used for client authentication alone; a node
// does not take it for a peer.
//
// Only how certificates are read, made and checked may enter here. Who listens
// where is the business of store/node and store/client.
package trust

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// Files are the PEM files of one end. All of them are set, or none: then
// connections are plain.
type Files struct {
	CA   string // certificates of the authority that signed the other ends'
	Cert string // this end's certificate, and those between it and the authority
	Key  string // the private key of Cert
}

// Enabled says whether connections are to be encrypted.
func (f Files) Enabled() bool { return f != (Files{}) }

// Validate says which file is not named. It reads none.
func (f Files) Validate() error {
	if !f.Enabled() {
		return nil
	}
	for _, field := range []struct{ name, file string }{{"CA", f.CA}, {"Cert", f.Cert}, {"Key", f.Key}} {
		if field.file == "" {
			return fmt.Errorf("%s is empty: for TLS give CA, Cert and Key, for plain connections none of them", field.name)
		}
	}
	return nil
}

// Identity is what one end shows, and whom it believes.
type Identity struct {
	cert  tls.Certificate
	roots *x509.CertPool
}

// Load reads the files. An error names the file and what is wrong with it, a
// certificate that is not valid now included.
func Load(f Files) (*Identity, error) {
	if err := f.Validate(); err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("trust: authority: %w", err)
	}
	id := &Identity{roots: x509.NewCertPool()}
	if !id.roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("trust: %s holds no certificate: give the authority's, in PEM", f.CA)
	}
	if id.cert, err = tls.LoadX509KeyPair(f.Cert, f.Key); err != nil {
		return nil, fmt.Errorf("trust: certificate %s with key %s: %w", f.Cert, f.Key, err)
	}
	leaf := id.cert.Leaf
	switch now := time.Now(); {
	case now.After(leaf.NotAfter):
		return nil, fmt.Errorf("trust: certificate %s expired at %s: get a new one", f.Cert, leaf.NotAfter.Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return nil, fmt.Errorf("trust: certificate %s is valid from %s on: check this machine's clock", f.Cert, leaf.NotBefore.Format(time.RFC3339))
	}
	return id, nil
}

// Client gives the settings of the end that dials.
func (id *Identity) Client() *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{id.cert},
		RootCAs:      id.roots,
		MinVersion:   tls.VersionTLS13,
	}
}

// Server gives the settings of the end that listens to clients. It takes the
// certificates of nodes too.
func (id *Identity) Server() *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{id.cert},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    id.roots,
		MinVersion:   tls.VersionTLS13,
	}
}

// PeerServer gives the settings of the end that listens to nodes: whose
// certificate is a client's is refused.
func (id *Identity) PeerServer() *tls.Config {
	c := id.Server()
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if !slices.Contains(s.PeerCertificates[0].ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
			return fmt.Errorf("the certificate of %q is a client's: a node's can be used for server authentication", s.PeerCertificates[0].Subject.CommonName)
		}
		return nil
	}
	return c
}

// CheckHost says whether the other end of a connection may call itself host.
func CheckHost(s tls.ConnectionState, host string) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("the other end has shown no certificate")
	}
	return s.PeerCertificates[0].VerifyHostname(host)
}
