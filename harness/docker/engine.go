package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/client"
	"github.com/testcontainers/testcontainers-go"
	tclog "github.com/testcontainers/testcontainers-go/log"
)

// engine is the container engine, seen through its two client libraries:
// testcontainers makes and starts containers, docker's own client does what
// testcontainers has no words for (attach, pause, kill, networks).
type engine struct {
	*client.Client
	containers *testcontainers.DockerProvider
	host       *url.URL // where the engine listens
	arch       string   // as Go names it
	desktop    bool     // the engine runs in Docker Desktop's virtual machine
}

// prepareEnv sets what testcontainers reads from the environment, once, before
// its first call. A variable that the user has set stays.
var prepareEnv = sync.OnceValue(func() error {
	defaults := map[string]string{
		// Testcontainers' own reaper would have to be pulled, and knows
		// neither leases nor rules. This package has a reaper.
		"TESTCONTAINERS_RYUK_DISABLED": "true",
	}
	if _, err := os.Stat("/.dockerenv"); err == nil && os.Getenv("DOCKER_HOST") == "" {
		// Testcontainers would take itself for a container's inhabitant and
		// talk to the bridge's gateway, where nobody listens.
		defaults["TESTCONTAINERS_HOST_OVERRIDE"] = "127.0.0.1"
	}
	for name, value := range defaults {
		if _, set := os.LookupEnv(name); set {
			continue
		}
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
})

// pingTimeout bounds how long an engine may take to answer that it is there.
const pingTimeout = 10 * time.Second

// connecting keeps concurrent starts from fighting over testcontainers' logger.
var connecting sync.Mutex

func connect(ctx context.Context) (*engine, error) {
	if err := prepareEnv(); err != nil {
		return nil, fmt.Errorf("docker: %w", err)
	}
	// Testcontainers quietly takes another engine if the one in DOCKER_HOST
	// does not answer. Faults must not go where nobody meant them to go.
	wanted := os.Getenv(client.EnvOverrideHost)
	if wanted != "" {
		cli, _, err := dial(ctx, wanted)
		if err != nil {
			return nil, noEngine(wanted, err)
		}
		cli.Close()
	}
	provider, err := newProvider()
	if err != nil {
		return nil, noEngine(wanted, err)
	}
	address := provider.Client().DaemonHost()
	if wanted != "" && address != wanted {
		return nil, fmt.Errorf("docker: DOCKER_HOST is %s, but testcontainers is set to use %s: make ~/.testcontainers.properties and DOCKER_HOST agree", wanted, address)
	}
	host, err := client.ParseHostURL(address)
	if err != nil {
		return nil, noEngine(address, err)
	}
	cli, version, err := dial(ctx, address)
	if err != nil {
		return nil, noEngine(address, err)
	}
	if version.Os != "linux" {
		cli.Close()
		return nil, fmt.Errorf("docker: the engine at %s runs %s containers: switch it to Linux containers", address, version.Os)
	}
	return &engine{
		Client: cli, containers: provider, host: host, arch: version.Arch,
		desktop: strings.Contains(version.Platform.Name, "Docker Desktop"),
	}, nil
}

// newProvider lets testcontainers find the engine, without its banner.
func newProvider() (*testcontainers.DockerProvider, error) {
	connecting.Lock()
	defer connecting.Unlock()
	before := tclog.Default()
	tclog.SetDefault(tclog.NewNoopLogger())
	defer tclog.SetDefault(before)
	return testcontainers.NewDockerProvider(testcontainers.WithLogger(tclog.NewNoopLogger()))
}

// dial makes a client for the engine at an address, and sees that it answers.
func dial(ctx context.Context, address string) (*client.Client, types.Version, error) {
	cli, err := client.NewClientWithOpts(client.FromEnv, client.WithHost(address), client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, types.Version{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	version, err := cli.ServerVersion(ctx)
	if err != nil {
		cli.Close()
		return nil, types.Version{}, err
	}
	return cli, version, nil
}

// ErrNoEngine is wrapped by [Start]'s error when no container engine answers.
var ErrNoEngine = errors.New("no container engine")

func noEngine(address string, cause error) error {
	if address == "" {
		address = "its usual places (DOCKER_HOST is not set)"
	}
	return fmt.Errorf("docker: %w reachable at %s: %w\n"+
		"Install Docker Engine (https://docs.docker.com/engine/install) and start it, make sure that this user may use its socket, "+
		"or set DOCKER_HOST to an engine elsewhere. The simulated world (--world sim) needs none",
		ErrNoEngine, address, cause)
}

// socketPath is where the engine's machine has its socket, for mounting it into
// a container.
func (e *engine) socketPath() string {
	if path := os.Getenv("TESTCONTAINERS_DOCKER_SOCKET_OVERRIDE"); path != "" {
		return path
	}
	// On Linux the engine listens where we reach it, rootless ones in the
	// user's own directory. Anywhere else a virtual machine is between.
	if e.host.Scheme == "unix" && runtime.GOOS == "linux" && !e.desktop {
		return e.host.Path + e.host.Host
	}
	return "/var/run/docker.sock"
}

// publicHost is the host name under which ports that the engine publishes are
// reached from here, and loopback says that publishing on the engine's loopback
// address is enough.
func (e *engine) publicHost() (name string, loopback bool) {
	if e.host.Scheme == "tcp" || e.host.Scheme == "http" || e.host.Scheme == "https" {
		name, _, err := net.SplitHostPort(e.host.Host)
		if err != nil {
			name = e.host.Host
		}
		if ip := net.ParseIP(name); name != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return name, false
		}
	}
	return "127.0.0.1", true
}

// http is a client for the engine's plain API, whatever host its requests name.
func (e *engine) http() *http.Client {
	dial := e.Dialer()
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}}
}
