//go:build chaos

package docker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/docker"
)

const (
	testnodePackage = "github.com/assay-chaos/assay/harness/docker/internal/testnode"
	testnodePort    = 8080
)

// testSystem runs internal/testnode.
type testSystem struct{}

var (
	_ docker.System    = testSystem{}
	_ docker.WallClock = testSystem{}
)

func (testSystem) Name() string { return "testnode" }

func (testSystem) Open(context.Context, harness.World, int) (harness.Client, error) {
	return nil, errors.New("the test system has no clients")
}

func (testSystem) Inspect(context.Context, harness.World, int, []string) ([]harness.Replica, error) {
	return nil, errors.New("the test system has no replicas")
}

func (testSystem) Image(ctx context.Context, arch string) (docker.Image, error) {
	program, err := docker.GoBinary(ctx, testnodePackage, arch)
	return docker.Image{
		Files:      []docker.File{{Path: "/testnode", Data: program}},
		Entrypoint: []string{"/testnode"},
	}, err
}

func (testSystem) Container(int, []docker.Peer) docker.Container {
	return docker.Container{
		Cmd:   []string{":" + strconv.Itoa(testnodePort), "/data"},
		Ports: []int{testnodePort}, DataDir: "/data",
	}
}

func (testSystem) Ready(ctx context.Context, addr string) error {
	_, err := get(ctx, addr, "/ready", nil)
	return err
}

func (testSystem) Wall(ctx context.Context, addr string) (time.Time, error) {
	text, err := get(ctx, addr, "/wall", nil)
	if err != nil {
		return time.Time{}, err
	}
	ns, err := strconv.ParseInt(text, 10, 64)
	return time.Unix(0, ns), err
}

// callTimeout is more than any answer takes that is going to come.
const callTimeout = 2 * time.Second

var client = &http.Client{Timeout: callTimeout, Transport: &http.Transport{DisableKeepAlives: true}}

func get(ctx context.Context, addr, path string, query url.Values) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path+"?"+query.Encode(), nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	return string(body), nil
}
