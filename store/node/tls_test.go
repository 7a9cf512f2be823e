package node

import (
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/assay-chaos/assay/store/client"
	"github.com/assay-chaos/assay/store/trust"
)

// logBuffer keeps a log to look at.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// awaitLog waits till the log has the words in one line.
func (l *logBuffer) await(t *testing.T, words ...string) {
	t.Helper()
	require.Eventually(t, func() bool {
		for line := range strings.Lines(l.String()) {
			all := true
			for _, w := range words {
				all = all && strings.Contains(line, w)
			}
			if all {
				return true
			}
		}
		return false
	}, 10*time.Second, 5*time.Millisecond, "no line of the log has %q", words)
}

func authority(t *testing.T, valid time.Duration) *trust.Authority {
	a, err := trust.NewAuthority(t.TempDir(), valid)
	require.NoError(t, err)
	return a
}

func load(t *testing.T, f trust.Files, err error) *trust.Identity {
	require.NoError(t, err)
	id, err := trust.Load(f)
	require.NoError(t, err)
	return id
}

// host is the address without its port.
func host(t testing.TB, addr string) string {
	h, _, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	return h
}

// startTLS starts a cluster whose nodes trust one authority.
func startTLS(t *testing.T, n int) (*cluster, *trust.Authority, *logBuffer) {
	a, log := authority(t, time.Hour), new(logBuffer)
	id := 0
	c := startLoggedCluster(t, n, true, log, func(c *Config) {
		var err error
		c.TLS, err = a.Node("node"+string(rune('0'+id)), host(t, c.ListenPeer), host(t, c.ListenClient))
		require.NoError(t, err)
		id++
	})
	f, err := a.Client("client")
	who := load(t, f, err)
	for _, m := range c.nodes {
		m.client.Close()
		m.client = client.NewTLS(m.cfg.ListenClient, who)
	}
	return c, a, log
}

func TestClusterWithTLS(t *testing.T) {
	c, _, log := startTLS(t, 3)
	ctx := within(t, 20*time.Second)
	stamp, err := c.nodes[0].client.Put(ctx, "a", []byte("1"))
	require.NoError(t, err)
	for _, m := range c.nodes {
		got, err := m.client.Get(ctx, "a")
		require.NoError(t, err)
		require.Equal(t, client.Record{Found: true, Value: []byte("1"), Stamp: stamp}, got)
	}
	require.NotContains(t, log.String(), "TLS handshake error")
}

// Who cannot show a certificate of the authority is refused, with a line in the
// log, and nothing of his request is done.
func TestClientWithoutTrustIsRefused(t *testing.T) {
	c, a, log := startTLS(t, 1)
	addr := c.nodes[0].cfg.ListenClient
	f, err := a.Client("right")
	right := load(t, f, err)
	other := authority(t, time.Hour)
	f, err = other.Client("stranger")
	stranger := load(t, f, err)
	expired, err := a.Valid(-time.Hour).Client("late")
	require.NoError(t, err)
	expiredPair, err := tls.LoadX509KeyPair(expired.Cert, expired.Key)
	require.NoError(t, err)

	for _, test := range []struct {
		name, words string
		change      func(*tls.Config)
	}{
		{"another authority", "unknown authority", func(c *tls.Config) { c.Certificates = stranger.Client().Certificates }},
		{"no certificate", "client didn't provide a certificate", func(c *tls.Config) { c.Certificates = nil }},
		{"expired", "certificate", func(c *tls.Config) { c.Certificates = []tls.Certificate{expiredPair} }},
	} {
		cfg := right.Client()
		test.change(cfg)
		tr := &http.Transport{TLSClientConfig: cfg}
		r, err := http.NewRequest("PUT", "https://"+addr+"/v1/kv/a", strings.NewReader("x"))
		require.NoError(t, err)
		_, err = tr.RoundTrip(r)
		require.ErrorContains(t, err, "tls: ", test.name)
		tr.CloseIdleConnections()
		log.await(t, "TLS handshake error", test.words)
	}
	log.await(t, "certificate has expired")

	// The client of another authority does not talk to this node either.
	cl := client.NewTLS(addr, stranger)
	defer cl.Close()
	_, err = cl.Put(within(t, 5*time.Second), "a", nil)
	require.ErrorContains(t, err, "unknown authority")
	require.True(t, client.Definite(err))
	// Nor does one that wants no TLS get further.
	plain := client.New(addr)
	defer plain.Close()
	_, err = plain.Put(within(t, 5*time.Second), "a", nil)
	require.Error(t, err)

	cl = client.NewTLS(addr, right)
	defer cl.Close()
	got, err := cl.Get(within(t, 5*time.Second), "a")
	require.NoError(t, err)
	require.False(t, got.Found)
}

// A stream needs the certificate of a node, and of the node that it says it is.
func TestPeerWithoutTrustIsRefused(t *testing.T) {
	c, a, log := startTLS(t, 2)
	right := c.nodes[1].cfg.withDefaults()
	open := func(who *trust.Identity, patience time.Duration) error {
		p, err := newPeer(&right, 0, right.Peers[0], who, slog.New(slog.NewTextHandler(log, nil)))
		require.NoError(t, err)
		defer p.conn.Close()
		return streamOnce(within(t, patience), p)
	}
	f, err := authority(t, time.Hour).Node("stranger", host(t, right.ListenPeer))
	require.Error(t, open(load(t, f, err), 200*time.Millisecond)) // it dials again and again
	log.await(t, "TLS with peer failed", "unknown authority")
	require.Error(t, open(nil, 200*time.Millisecond))
	log.await(t, "connection of a peer closed", "first record does not look like a TLS handshake")

	f, err = a.Client("client")
	require.Error(t, open(load(t, f, err), 200*time.Millisecond)) // it dials again and again
	log.await(t, "connection of a peer closed", `\"client\" is a client's`)

	f, err = a.Node("elsewhere", "10.9.8.7")
	err = open(load(t, f, err), 10*time.Second)
	require.Equal(t, codes.PermissionDenied, status.Code(err), "%v", err)
	require.ErrorContains(t, err, "its certificate does not")
	log.await(t, "stream from peer refused", "10.9.8.7")

	f, err = a.Valid(-time.Hour).Node("late", host(t, right.ListenPeer))
	require.NoError(t, err)
	_, err = trust.Load(f)
	require.ErrorContains(t, err, "expired at")
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	require.NoError(t, err)
	cfg := c.nodes[0].cfg
	conn, err := tls.Dial("tcp", cfg.ListenPeer, &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err == nil { // the alert may come with the first read
		_, err = io.Copy(io.Discard, conn)
		conn.Close()
	}
	require.Error(t, err)
	log.await(t, "connection of a peer closed", "certificate has expired")
}

// A node whose files are wrong does not start, and says which.
func TestNodeWithBadCertificates(t *testing.T) {
	a := authority(t, time.Hour)
	good, err := a.Node("n", "127.0.0.1")
	require.NoError(t, err)
	late, err := a.Valid(-time.Hour).Node("late", "127.0.0.1")
	require.NoError(t, err)
	for _, test := range []struct {
		files trust.Files
		words []string
	}{
		{trust.Files{CA: "none.pem", Cert: good.Cert, Key: good.Key}, []string{"none.pem"}},
		{trust.Files{CA: good.Key, Cert: good.Cert, Key: good.Key}, []string{"n-key.pem holds no certificate"}},
		{trust.Files{CA: good.CA, Cert: good.Cert, Key: late.Key}, []string{"n.pem", "late-key.pem"}},
		{late, []string{"late.pem", "expired at"}},
	} {
		cfg := DefaultConfig()
		cfg.Dir, cfg.TLS = t.TempDir(), test.files
		_, err := Open(cfg, nil)
		for _, w := range test.words {
			require.ErrorContains(t, err, w)
		}
	}
}
