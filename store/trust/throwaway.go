package trust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Authority signs certificates for trying things out. Its own key is never
// written, so nobody can sign more later.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	last time.Time // when what it signs expires
}

// NewAuthority makes an authority for a throw-away cluster, whose certificates
// are valid for the given time. It writes dir/ca.pem.
func NewAuthority(dir string, valid time.Duration) (*Authority, error) {
	a := &Authority{dir: dir, last: time.Now().Add(valid)}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "assay throw-away authority"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	var err error
	a.cert, a.key, err = a.sign(template, "")
	return a, err
}

// Valid gives the same authority, signing for another time from now. One that
// is over already makes certificates that have expired.
func (a *Authority) Valid(d time.Duration) *Authority {
	b := *a
	b.last = time.Now().Add(d)
	return &b
}

// CAFile is where the authority's certificate is.
func (a *Authority) CAFile() string { return filepath.Join(a.dir, "ca.pem") }

// Node makes the files of a node that is reached at the hosts.
func (a *Authority) Node(name string, hosts ...string) (Files, error) {
	t := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	_, _, err := a.sign(t, name)
	return a.files(name), err
}

// Client makes the files of a client.
func (a *Authority) Client(name string) (Files, error) {
	_, _, err := a.sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, name)
	return a.files(name), err
}

func (a *Authority) files(name string) Files {
	return Files{
		CA:   a.CAFile(),
		Cert: filepath.Join(a.dir, name+".pem"),
		Key:  filepath.Join(a.dir, name+"-key.pem"),
	}
}

// sign makes a key and a certificate for it and writes both. Without a name it
// is the authority's own.
func (a *Authority) sign(t *x509.Certificate, name string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("trust: make a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, fmt.Errorf("trust: make a serial number: %w", err)
	}
	t.SerialNumber, t.NotAfter = serial, a.last
	t.NotBefore = time.Now().Add(-time.Minute) // clocks of one cluster may differ a little
	if t.NotAfter.Before(t.NotBefore) {
		t.NotBefore = t.NotAfter.Add(-time.Minute)
	}
	parent, signer := a.cert, a.key
	if name == "" {
		parent, signer = t, key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, nil, fmt.Errorf("trust: sign the certificate of %q: %w", t.Subject.CommonName, err)
	}
	if name == "" {
		err = write(a.CAFile(), "CERTIFICATE", der, 0o644)
	} else {
		var pkcs8 []byte
		pkcs8, err = x509.MarshalPKCS8PrivateKey(key)
		err = errors.Join(err,
			write(a.files(name).Cert, "CERTIFICATE", der, 0o644),
			write(a.files(name).Key, "PRIVATE KEY", pkcs8, 0o600))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("trust: write the certificate of %q: %w", t.Subject.CommonName, err)
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}

func write(path, kind string, der []byte, mode os.FileMode) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}
