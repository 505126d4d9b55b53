// Validates a Compose file and the Dockerfiles that it builds: the loader checks the file against the schema and resolves its references,
// and the parser of BuildKit reads the instructions. Prints the names of the services.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

func main() {
	options, err := cli.NewProjectOptions(os.Args[1:], cli.WithResolvedPaths(true), cli.WithConsistency(true))
	if err != nil {
		log.Fatal(err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	for name, service := range project.Services {
		if service.Build != nil {
			if err := dockerfile(filepath.Join(service.Build.Context, service.Build.Dockerfile)); err != nil {
				log.Fatalf("%s: %v", name, err)
			}
		}
		fmt.Println(name)
	}
}

func dockerfile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	parsed, err := parser.Parse(file)
	if err != nil {
		return err
	}
	_, _, err = instructions.Parse(parsed.AST, nil)
	return err
}
