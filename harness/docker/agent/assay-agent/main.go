// Command assay-agent is the program in the agents' image. It is built and
// started by harness/docker, never by hand.
package main

import (
	"fmt"
	"os"

	"github.com/assay-chaos/assay/harness/docker/agent"
)

func main() {
	agent.MaybeMain()
	fmt.Fprintf(os.Stderr, "assay-agent: %s is not set; this program is started by the docker world\n", agent.EnvRole)
	os.Exit(2)
}
