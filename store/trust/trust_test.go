package trust

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// meet lets two ends shake hands and gives what each thinks of the other.
func meet(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	a, b := net.Pipe()
	s, c := tls.Server(a, server), tls.Client(b, client)
	done := make(chan error, 1)
	go func() {
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("x"))
		}
		a.Close()
		done <- err
	}()
	_, clientErr = io.ReadFull(c, make([]byte, 1)) // in TLS 1.3 a client hears of its refusal when it reads
	b.Close()
	return <-done, clientErr
}

func named(c *tls.Config, host string) *tls.Config {
	c.ServerName = host
	return c
}

func TestWhoTrustsWhom(t *testing.T) {
	a, err := NewAuthority(t.TempDir(), time.Hour)
	require.NoError(t, err)
	id := func(f Files, err error) *Identity {
		require.NoError(t, err)
		got, err := Load(f)
		require.NoError(t, err)
		return got
	}
	node, client := id(a.Node("node", "127.0.0.1", "store.example")), id(a.Client("client"))
	b, err := NewAuthority(t.TempDir(), time.Hour)
	require.NoError(t, err)
	stranger := id(b.Node("stranger", "127.0.0.1"))

	for _, test := range []struct {
		name           string
		server, client *tls.Config
		serverSays     string // "": trusted
		clientSays     string
	}{
		{"client at a node", node.Server(), named(client.Client(), "127.0.0.1"), "", ""},
		{"node at a node, by name", node.PeerServer(), named(node.Client(), "store.example"), "", ""},
		{"client at the port for peers", node.PeerServer(), named(client.Client(), "127.0.0.1"), "a client's", "tls: "},
		{"node that is not the one dialled", node.Server(), named(client.Client(), "10.0.0.1"), "bad certificate", "10.0.0.1"},
		{"stranger at a node", node.Server(), named(stranger.Client(), "127.0.0.1"), "bad certificate", "unknown authority"},
		{"client at a client", client.Server(), named(client.Client(), "127.0.0.1"), "bad certificate", "doesn't contain any IP SANs"},
	} {
		s, c := meet(t, test.server, test.client)
		for _, got := range []struct {
			err   error
			words string
		}{{s, test.serverSays}, {c, test.clientSays}} {
			if got.words == "" {
				require.NoError(t, got.err, test.name)
			} else {
				require.ErrorContains(t, got.err, got.words, test.name)
			}
		}
	}
}

// A private key is for its owner alone, and the authority's is nowhere.
func TestFilesOfAnAuthority(t *testing.T) {
	dir := t.TempDir()
	a, err := NewAuthority(dir, time.Hour)
	require.NoError(t, err)
	f, err := a.Client("c")
	require.NoError(t, err)
	info, err := os.Stat(f.Key)
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 3)
	_, err = NewAuthority(dir+"/none", time.Hour)
	require.ErrorContains(t, err, "none")
}

func TestValidate(t *testing.T) {
	require.NoError(t, Files{}.Validate())
	require.NoError(t, Files{CA: "a", Cert: "b", Key: "c"}.Validate())
	require.ErrorContains(t, Files{Cert: "b", Key: "c"}.Validate(), "CA is empty")
	require.ErrorContains(t, Files{CA: "a", Cert: "b"}.Validate(), "Key is empty")
}
