// Reads the mesh configuration in the values of the Helm chart istiod, as Istio reads it: an unknown field is an error.
package main

import (
	"fmt"
	"log"
	"os"

	"google.golang.org/protobuf/encoding/protojson"
	mesh "istio.io/api/mesh/v1alpha1"
	"sigs.k8s.io/yaml"
)

func main() {
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var values struct {
		MeshConfig any `json:"meshConfig"`
		Pilot      any `json:"pilot"`
	}
	if err := yaml.UnmarshalStrict(text, &values); err != nil {
		log.Fatal(err)
	}
	given, err := yaml.Marshal(values.MeshConfig)
	if err != nil {
		log.Fatal(err)
	}
	json, err := yaml.YAMLToJSON(given)
	if err != nil {
		log.Fatal(err)
	}
	var config mesh.MeshConfig
	if err := protojson.Unmarshal(json, &config); err != nil {
		log.Fatal(err)
	}
	fmt.Println(&config)
}
