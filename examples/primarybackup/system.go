// Package primarybackup shows how a store of one's own is tested in
// containers: System says how to start a node of the store in server and how to
// use it, and chaos_test.go breaks it. What a user would write is all here;
// the store itself knows nothing of it.
package primarybackup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/docker"
	"github.com/assay-chaos/assay/harness/history"
)

const port = 8080

// System is the store in server.
type System struct{}

var _ docker.System = System{}

// Name implements harness.System.
func (System) Name() string { return "primary/backup" }

// Image implements docker.System. A store that has an image gives its name:
// docker.Image{Ref: "example.org/store:1.2"}.
func (System) Image(ctx context.Context, arch string) (docker.Image, error) {
	program, err := docker.GoBinary(ctx, "github.com/assay-chaos/assay/examples/primarybackup/server", arch)
	return docker.Image{
		Files:      []docker.File{{Path: "/server", Mode: 0o755, Data: program}},
		Entrypoint: []string{"/server"},
	}, err
}

// Container implements docker.System.
func (System) Container(node int, peers []docker.Peer) docker.Container {
	var addrs []string
	for _, p := range peers {
		addrs = append(addrs, net.JoinHostPort(p.Addr.String(), strconv.Itoa(port)))
	}
	return docker.Container{
		Cmd:     []string{"-id", strconv.Itoa(node), "-peers", strings.Join(addrs, ",")},
		Ports:   []int{port},
		DataDir: "/data",
	}
}

// Ready implements docker.System.
func (System) Ready(ctx context.Context, addr string) error {
	_, _, err := request(ctx, http.MethodGet, "http://"+addr+"/healthz", "")
	return err
}

// Open implements harness.System.
func (System) Open(_ context.Context, w harness.World, node int) (harness.Client, error) {
	return client{w.(*docker.World).Addr(node)}, nil
}

// Inspect implements harness.System.
func (System) Inspect(ctx context.Context, w harness.World, node int, keys []string) ([]harness.Replica, error) {
	replicas := make([]harness.Replica, len(keys))
	for i, key := range keys {
		value, err := get(ctx, "http://"+w.(*docker.World).Addr(node)+"/kv/"+key+"?local")
		if err != nil {
			return nil, err
		}
		replicas[i] = harness.Replica{Present: value != history.Nil, Value: value}
	}
	return replicas, nil
}

// client talks to one node.
type client struct{ addr string }

// Invoke implements harness.Client.
func (c client) Invoke(ctx context.Context, key string, op *history.Op) (err error) {
	url := "http://" + c.addr + "/kv/" + key
	switch op.F {
	case history.Read:
		op.Out, err = get(ctx, url)
	case history.Write:
		_, _, err = request(ctx, http.MethodPut, url, op.Arg.String())
	default:
		err = harness.Definite(fmt.Errorf("the store has no %v", op.F))
	}
	return err
}

func (client) Close() error { return nil }

// get reads a value, history.Nil if there is none.
func get(ctx context.Context, url string) (history.Value, error) {
	status, body, err := request(ctx, http.MethodGet, url, "")
	if status == http.StatusNotFound {
		return history.Nil, nil
	}
	if err != nil {
		return history.Nil, err
	}
	n, err := strconv.ParseInt(body, 10, 64)
	return history.Value(n), err
}

var httpClient = &http.Client{Transport: &http.Transport{
	DialContext:         (&net.Dialer{Timeout: time.Second}).DialContext,
	MaxIdleConnsPerHost: 100,
}}

// request says in its error what is known: definite where nothing was sent, or
// where the store says that it did nothing. After everything else, a time limit
// for example, the store may have done it.
func request(ctx context.Context, method, url, body string) (status int, answer string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", harness.Definite(err)
	}
	resp, err := httpClient.Do(req)
	if op := new(net.OpError); errors.As(err, &op) && op.Op == "dial" {
		return 0, "", harness.Definite(err)
	}
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return 0, "", err
	case resp.StatusCode == http.StatusServiceUnavailable:
		err = harness.Definite(errors.New(string(text)))
	case resp.StatusCode >= 300:
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return resp.StatusCode, string(text), err
}
