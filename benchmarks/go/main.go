// Command operations measures operations of OpenTelemetry Go, as the benchmark `operations` does those of Rust.
//
// It prints a line for each figure: the name of the row, a dot, the name of the figure, a space, and the number.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	spanIterations    = 200_000
	requestIterations = 10_000
)

// ended counts the spans and discards them.
type ended struct{ count atomic.Int64 }

func (e *ended) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (e *ended) OnEnd(sdktrace.ReadOnlySpan)                     { e.count.Add(1) }
func (e *ended) Shutdown(context.Context) error                  { return nil }
func (e *ended) ForceFlush(context.Context) error                { return nil }

var spans ended

// measure runs the operation without and with a clock around each, and checks the number of its spans.
func measure(name string, iterations int, expected int64, operation func()) {
	for range iterations / 10 {
		operation()
	}
	settle()
	before := spans.count.Load()
	var first, last runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&first)
	started := time.Now()
	for range iterations {
		operation()
	}
	elapsed := time.Since(started)
	runtime.ReadMemStats(&last)
	settle()
	if recorded := spans.count.Load() - before; recorded != expected*int64(iterations) {
		log.Fatalf("%s recorded %d spans of %d", name, recorded, expected*int64(iterations))
	}
	times := make([]time.Duration, iterations)
	for index := range times {
		started := time.Now()
		operation()
		times[index] = time.Since(started)
	}
	slices.Sort(times)
	each := float64(iterations)
	fmt.Printf("%s.per_second %f\n", name, each/elapsed.Seconds())
	fmt.Printf("%s.p50 %d\n", name, times[(iterations-1)/2].Nanoseconds())
	fmt.Printf("%s.p99 %d\n", name, times[(iterations-1)*99/100].Nanoseconds())
	fmt.Printf("%s.allocations %f\n", name, float64(last.Mallocs-first.Mallocs)/each)
	fmt.Printf("%s.bytes %f\n", name, float64(last.TotalAlloc-first.TotalAlloc)/each)
}

// settle waits until no further span of a server ends: a server's span can end after its client has the response.
func settle() {
	for last := int64(-1); last != spans.count.Load(); {
		last = spans.count.Load()
		time.Sleep(20 * time.Millisecond)
	}
}

func main() {
	// As many threads as the runtime of the program in Rust has.
	runtime.GOMAXPROCS(2)
	measureSpans("no-op", 0, noop.NewTracerProvider().Tracer("operations"))
	for _, protocol := range []func(string, int64){measureHTTP, measureGRPC} {
		protocol("untraced", 0)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(&spans))
	otel.SetTracerProvider(provider)
	// The program in Rust has neither exemplars nor histograms of sizes.
	withoutSizes := metric.NewView(metric.Instrument{Name: "*.size"}, metric.Stream{Aggregation: metric.AggregationDrop{}})
	otel.SetMeterProvider(metric.NewMeterProvider(
		metric.WithReader(metric.NewManualReader()),
		metric.WithExemplarFilter(exemplar.AlwaysOffFilter),
		metric.WithView(withoutSizes),
	))
	otel.SetTextMapPropagator(propagation.TraceContext{})
	measureSpans("sdk", 1, provider.Tracer("operations"))
	for _, protocol := range []func(string, int64){measureHTTP, measureGRPC} {
		protocol("traced", 2)
	}
}

func measureSpans(name string, spans int64, tracer trace.Tracer) {
	root := context.Background()
	attributes := make([]attribute.KeyValue, 10)
	for index := range attributes {
		attributes[index] = attribute.String(fmt.Sprintf("attribute.%d", index), "value")
	}
	measure(name+"-span", spanIterations, spans, func() {
		_, span := tracer.Start(root, "operation")
		span.End()
	})
	if spans == 0 {
		return
	}
	measure(name+"-span-10", spanIterations, 1, func() {
		_, span := tracer.Start(root, "operation", trace.WithAttributes(attributes...))
		span.End()
	})
	var nested func(context.Context, int)
	nested = func(ctx context.Context, depth int) {
		ctx, span := tracer.Start(ctx, "operation")
		if depth > 1 {
			nested(ctx, depth-1)
		}
		span.End()
	}
	measure(name+"-nested-5", spanIterations/5, 5, func() { nested(root, 5) })
	measure(name+"-tasks-8", spanIterations/10, 8, func() {
		var tasks sync.WaitGroup
		for range 8 {
			tasks.Go(func() {
				_, span := tracer.Start(root, "operation")
				span.End()
			})
		}
		tasks.Wait()
	})
}

func listen() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	return listener
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func measureHTTP(name string, spans int64) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{id}", func(writer http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(writer, "Ada")
	})
	var handler http.Handler = mux
	transport := http.RoundTripper(&http.Transport{})
	if spans > 0 {
		handler = otelhttp.NewHandler(mux, "server")
		transport = otelhttp.NewTransport(transport)
	}
	listener := listen()
	server := &http.Server{Handler: handler}
	go func() { _ = server.Serve(listener) }()
	client := http.Client{Transport: transport}
	url := fmt.Sprintf("http://%s/users/42", listener.Addr())
	measure("http-"+name, requestIterations, spans, func() {
		response, err := client.Get(url)
		check(err)
		body, err := io.ReadAll(response.Body)
		check(err)
		check(response.Body.Close())
		if string(body) != "Ada" {
			log.Fatal(string(body))
		}
	})
	check(server.Close())
}

func measureGRPC(name string, spans int64) {
	greet := func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		request := new(wrapperspb.StringValue)
		return request, decode(request)
	}
	service := grpc.ServiceDesc{
		ServiceName: "bench.Greeter",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Greet", Handler: greet}},
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	var serverOptions []grpc.ServerOption
	if spans > 0 {
		options = append(options, grpc.WithStatsHandler(otelgrpc.NewClientHandler()))
		serverOptions = append(serverOptions, grpc.StatsHandler(otelgrpc.NewServerHandler()))
	}
	server := grpc.NewServer(serverOptions...)
	server.RegisterService(&service, struct{}{})
	listener := listen()
	go func() { _ = server.Serve(listener) }()
	channel, err := grpc.NewClient(strings.Replace(listener.Addr().String(), "127.0.0.1", "passthrough:///127.0.0.1", 1), options...)
	check(err)
	request := wrapperspb.String("Ada")
	measure("grpc-"+name, requestIterations, spans, func() {
		response := new(wrapperspb.StringValue)
		check(channel.Invoke(context.Background(), "/bench.Greeter/Greet", request, response))
		if response.Value != "Ada" {
			log.Fatal(response)
		}
	})
	check(channel.Close())
	server.Stop()
}
