module example.org/istio

go 1.26

require istio.io/api v1.32.0
