package docker

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"strconv"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/testcontainers/testcontainers-go"

	"github.com/assay-chaos/assay/harness/docker/agent"
)

// A spec is a container to make.
type spec struct {
	name, image string
	labels      map[string]string
	entrypoint  []string
	cmd         []string
	env         map[string]string
	user        string

	network   string // name of a network, or a mode such as "host"
	addr      netip.Addr
	publish   []int // TCP ports
	publishOn netip.Addr
	pid       string // mode of the process namespace
	users     string // mode of the user namespace
	sysctls   map[string]string
	binds     []string

	autoRemove bool

	agent bool // attached, and confined to caps
	caps  []string
}

// create makes a container through testcontainers; it is not started.
func (e *engine) create(ctx context.Context, s spec) (testcontainers.Container, error) {
	req := testcontainers.ContainerRequest{
		Name: s.name, Image: s.image, Labels: maps.Clone(s.labels), Env: s.env,
		Entrypoint: s.entrypoint, Cmd: s.cmd,
		ConfigModifier: func(c *container.Config) {
			c.User = s.user
			if s.agent {
				c.OpenStdin, c.StdinOnce = true, true
				c.AttachStdin, c.AttachStdout, c.AttachStderr = true, true, true
			}
		},
		HostConfigModifier: func(h *container.HostConfig) {
			h.NetworkMode = container.NetworkMode(s.network)
			h.PidMode = container.PidMode(s.pid)
			h.UsernsMode = container.UsernsMode(s.users)
			h.Sysctls = s.sysctls
			h.Binds = s.binds
			h.AutoRemove = s.autoRemove
			if s.agent {
				h.CapDrop, h.CapAdd = []string{"ALL"}, s.caps
				h.SecurityOpt = []string{"no-new-privileges"}
				h.ReadonlyRootfs = true
			}
			for _, port := range s.publish {
				if h.PortBindings == nil {
					h.PortBindings = network.PortMap{}
				}
				h.PortBindings[network.MustParsePort(strconv.Itoa(port)+"/tcp")] = []network.PortBinding{{HostIP: s.publishOn}}
			}
		},
	}
	for _, port := range s.publish {
		req.ExposedPorts = append(req.ExposedPorts, strconv.Itoa(port)+"/tcp")
	}
	if s.addr.IsValid() {
		req.EndpointSettingsModifier = func(m map[string]*network.EndpointSettings) {
			m[s.network] = &network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: s.addr}}
		}
	}
	c, err := e.containers.CreateContainer(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("create container %s: %w", s.name, err)
	}
	return c, nil
}

// startAgent makes and starts an agent's container, and waits for its greeting.
func (e *engine) startAgent(ctx context.Context, s spec, role string, hello any) (*channel, testcontainers.Container, error) {
	s.agent = true
	s.env = maps.Clone(s.env)
	if s.env == nil {
		s.env = map[string]string{}
	}
	s.env[agent.EnvRole] = role
	c, err := e.create(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	ch, err := e.attach(ctx, s.name, c.GetContainerID())
	if err != nil {
		return nil, nil, err
	}
	if err := c.Start(ctx); err != nil {
		ch.close()
		return nil, nil, fmt.Errorf("start %s: %w", s.name, err)
	}
	if err := ch.hello(ctx, hello); err != nil {
		ch.close()
		return nil, nil, err
	}
	return ch, c, nil
}
