// check-compose loads a compose file as `docker compose config` does, by the same library: schema, interpolation,
// and that every service, network and volume referred to exists. Needs no Docker.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	options, err := cli.NewProjectOptions(os.Args[1:], cli.WithOsEnv, cli.WithDotEnv)
	if err != nil {
		fail(err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		fail(err)
	}
	for name, service := range project.Services {
		if service.HealthCheck == nil {
			fail(fmt.Errorf("service %s has no healthcheck, and does not disable it", name))
		}
	}
	fmt.Printf("%v is valid: %d services\n", os.Args[1:], len(project.Services))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "check-compose:", err)
	os.Exit(1)
}
