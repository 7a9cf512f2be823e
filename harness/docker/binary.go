package docker

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/assay-chaos/assay/harness/docker/agent"
)

const agentPackage = "github.com/assay-chaos/assay/harness/docker/agent/assay-agent"

// agentBinary finds the program of the agents. The running program itself is
// best, as it cannot be of another version; it must be one that can play the
// part and that runs in an empty image. Otherwise the agent is built.
func agentBinary(ctx context.Context, arch string) ([]byte, error) {
	selfErr := errors.New("it does not call agent.MaybeMain")
	if agent.SelfIsAgent() {
		var self []byte
		if self, selfErr = SelfBinary(arch); selfErr == nil {
			return self, nil
		}
	}
	built, buildErr := GoBinary(ctx, agentPackage, arch)
	if buildErr == nil {
		return built, nil
	}
	return nil, fmt.Errorf("docker: no program for the agents' containers: %w",
		errors.Join(
			fmt.Errorf("this program cannot be used: %w", selfErr),
			fmt.Errorf("and none could be built: %w", buildErr),
			errors.New("either run from within a Go module that requires github.com/assay-chaos/assay, with the go command in PATH, "+
				"or use a program built with CGO_ENABLED=0 for the engine's platform that calls agent.MaybeMain first thing in main"),
		))
}

// SelfBinary is the running program, if it runs in an empty image on the
// architecture. It is meant for [System.Image] too.
func SelfBinary(arch string) ([]byte, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if err := checkStatic(b, arch); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// checkStatic says whether a program runs in an empty image on the platform.
func checkStatic(program []byte, arch string) error {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return fmt.Errorf("not a Linux program: %w", err)
	}
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "s390x": elf.EM_S390, "ppc64le": elf.EM_PPC64, "riscv64": elf.EM_RISCV}
	if want, known := machines[arch]; !known || f.Machine != want {
		return fmt.Errorf("built for %v, and the engine runs %s", f.Machine, arch)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("not static (build with CGO_ENABLED=0)")
		}
	}
	return nil
}

// goBinaries remembers what this process has built: sources do not change under
// a test. A failure is not remembered, as the next caller may have more time.
var goBinaries sync.Map // of package + " " + arch to *goBinary

type goBinary struct {
	mu      sync.Mutex
	program []byte
}

// GoBinary builds a static Linux program from a Go main package with the go
// command, from within the current directory's module. The architecture is as
// Go names it. It is meant for [System.Image] too.
func GoBinary(ctx context.Context, pkg, arch string) ([]byte, error) {
	entry, _ := goBinaries.LoadOrStore(pkg+" "+arch, &goBinary{})
	b := entry.(*goBinary)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.program == nil {
		program, err := goBuild(ctx, pkg, arch)
		if err != nil {
			return nil, err
		}
		b.program = program
	}
	return b.program, nil
}

func goBuild(ctx context.Context, pkg, arch string) ([]byte, error) {
	goCommand, err := exec.LookPath("go")
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", pkg, err)
	}
	dir, err := os.MkdirTemp("", "assay-build-")
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", pkg, err)
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "program")
	cmd := exec.CommandContext(ctx, goCommand, "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build %s: %w\n%s", pkg, err, bytes.TrimSpace(text))
	}
	return os.ReadFile(out)
}
