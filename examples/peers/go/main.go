// Command peer relays HTTP requests and gRPC calls, instrumented with OpenTelemetry Go.
//
// The contract is in ../README.md.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	grpccodes "google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

func main() {
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	lines := &lines{encoder: json.NewEncoder(os.Stdout)}
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSyncer(lines)))

	httpListener, grpcListener := listen(), listen()
	lines.write(map[string]string{
		"http": fmt.Sprintf("http://%s", httpListener.Addr()),
		"grpc": fmt.Sprintf("http://%s", grpcListener.Addr()),
	})
	go func() { log.Fatal(http.Serve(httpListener, relayOverHTTP())) }()
	go func() { log.Fatal(relayOverGRPC().Serve(grpcListener)) }()

	// The parent holds the other end for as long as it lives.
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func listen() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	return listener
}

func relayOverHTTP() http.Handler {
	client := http.Client{Transport: otelhttp.NewTransport(http.DefaultTransport)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /relay", func(writer http.ResponseWriter, request *http.Request) {
		recordTenant(request.Context())
		inner, err := http.NewRequestWithContext(request.Context(), http.MethodGet, request.URL.Query().Get("to"), nil)
		if err != nil {
			http.Error(writer, err.Error(), http.StatusBadRequest)
			return
		}
		response, err := client.Do(inner)
		if err != nil {
			http.Error(writer, err.Error(), http.StatusBadGateway)
			return
		}
		defer response.Body.Close()
		// The client's span ends with the body.
		_, _ = io.Copy(io.Discard, response.Body)
		if response.StatusCode != http.StatusOK {
			http.Error(writer, response.Status, http.StatusBadGateway)
		}
	})
	return otelhttp.NewHandler(mux, "relay")
}

type healthRelay struct {
	grpc_health_v1.UnimplementedHealthServer
}

func (healthRelay) Check(ctx context.Context, request *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	recordTenant(ctx)
	target, service, found := strings.Cut(request.Service, "/")
	if !found {
		return nil, status.Error(grpccodes.InvalidArgument, "expected HOST:PORT/SERVICE")
	}
	connection, err := grpc.NewClient(target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStatsHandler(otelgrpc.NewClientHandler()))
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	return grpc_health_v1.NewHealthClient(connection).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
}

func relayOverGRPC() *grpc.Server {
	server := grpc.NewServer(grpc.StatsHandler(otelgrpc.NewServerHandler()))
	grpc_health_v1.RegisterHealthServer(server, healthRelay{})
	return server
}

func recordTenant(ctx context.Context) {
	tenant := baggage.FromContext(ctx).Member("tenant").Value()
	trace.SpanFromContext(ctx).SetAttributes(attribute.String("tenant", tenant))
}

// lines exports each span as a line of JSON.
type lines struct {
	mutex   sync.Mutex
	encoder *json.Encoder
}

func (lines *lines) write(value any) {
	lines.mutex.Lock()
	defer lines.mutex.Unlock()
	if err := lines.encoder.Encode(value); err != nil {
		log.Fatal(err)
	}
}

func (lines *lines) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	for _, span := range spans {
		tenant := ""
		for _, one := range span.Attributes() {
			if one.Key == "tenant" {
				tenant = one.Value.AsString()
			}
		}
		lines.write(map[string]any{
			"trace_id":  span.SpanContext().TraceID().String(),
			"span_id":   span.SpanContext().SpanID().String(),
			"parent_id": span.Parent().SpanID().String(),
			"kind":      span.SpanKind().String(),
			"error":     span.Status().Code == codes.Error,
			"tenant":    tenant,
		})
	}
	return nil
}

func (*lines) Shutdown(context.Context) error { return nil }
