"""Relays HTTP requests: Starlette and httpx, instrumented with OpenTelemetry Python.

The contract is in ../README.md.
"""

import asyncio
import json
import socket
import sys

import httpx
import uvicorn
from opentelemetry import baggage, trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.starlette import StarletteInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route


def write(value):
    print(json.dumps(value), flush=True)


class Lines(SpanExporter):
    """Exports the spans of a server and of a client, each as a line of JSON."""

    def export(self, spans):
        for span in spans:
            # ASGI's spans of single messages.
            if span.kind is trace.SpanKind.INTERNAL:
                continue
            write(
                {
                    "trace_id": trace.format_trace_id(span.context.trace_id),
                    "span_id": trace.format_span_id(span.context.span_id),
                    "parent_id": trace.format_span_id(span.parent.span_id if span.parent else 0),
                    "kind": span.kind.name.lower(),
                    "error": span.status.status_code is trace.StatusCode.ERROR,
                    "tenant": span.attributes.get("tenant", ""),
                }
            )
        return SpanExportResult.SUCCESS


async def relay(request):
    trace.get_current_span().set_attribute("tenant", str(baggage.get_baggage("tenant") or ""))
    async with httpx.AsyncClient() as client:
        response = await client.get(request.query_params["to"])
    return PlainTextResponse("", 200 if response.status_code == 200 else 502)


async def main():
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Lines()))
    trace.set_tracer_provider(provider)
    HTTPXClientInstrumentor().instrument()
    app = Starlette(routes=[Route("/relay", relay)])
    StarletteInstrumentor.instrument_app(app)

    listener = socket.create_server(("127.0.0.1", 0))
    write({"http": f"http://127.0.0.1:{listener.getsockname()[1]}"})
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    # The parent holds the other end for as long as it lives.
    await asyncio.to_thread(sys.stdin.read)
    server.should_exit = True
    await serving


asyncio.run(main())
