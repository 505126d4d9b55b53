"""Relays HTTP requests: Starlette and httpx, instrumented with OpenTelemetry Python. Relays messages of RabbitMQ: aio-pika,
instrumented as well. Relays requests of NATS: nats-py, which has no instrumentation, with the propagator by hand.

The contract is in ../README.md.
"""

import asyncio
import json
import os
import socket
import sys
from functools import partial

import aio_pika
import httpx
import nats
import uvicorn
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.instrumentation.aio_pika import AioPikaInstrumentor
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
    """Exports each span as a line of JSON."""

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
                    "links": [trace.format_span_id(link.context.span_id) for link in span.links],
                }
            )
        return SpanExportResult.SUCCESS


def record_tenant():
    trace.get_current_span().set_attribute("tenant", str(baggage.get_baggage("tenant") or ""))


async def relay(request):
    record_tenant()
    async with httpx.AsyncClient() as client:
        response = await client.get(request.query_params["to"])
    return PlainTextResponse("", 200 if response.status_code == 200 else 502)


async def relay_over_nats(client, message):
    tracer = trace.get_tracer("peer")
    sender = propagate.extract(message.headers or {})
    link = trace.Link(trace.get_current_span(sender).get_span_context())
    token = context.attach(sender)
    try:
        with tracer.start_as_current_span("process", kind=trace.SpanKind.CONSUMER, links=[link]) as process:
            record_tenant()
            with tracer.start_as_current_span("request", kind=trace.SpanKind.CLIENT) as request:
                headers = {}
                propagate.inject(headers)
                response = await client.request(message.data.decode(), timeout=10, headers=headers)
                if response.data != b"ok":
                    request.set_status(trace.StatusCode.ERROR)
                    process.set_status(trace.StatusCode.ERROR)
            await client.publish(message.reply, response.data)
    finally:
        context.detach(token)


async def relay_over_amqp(exchange, message):
    record_tenant()
    async with message.process():
        await exchange.publish(aio_pika.Message(b""), routing_key=message.body.decode())


async def main():
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Lines()))
    trace.set_tracer_provider(provider)
    HTTPXClientInstrumentor().instrument()
    AioPikaInstrumentor().instrument()
    app = Starlette(routes=[Route("/relay", relay)])
    StarletteInstrumentor.instrument_app(app)

    listener = socket.create_server(("127.0.0.1", 0))
    addresses = {"http": f"http://127.0.0.1:{listener.getsockname()[1]}"}
    if url := os.environ.get("NATS_URL"):
        client = await nats.connect(url)
        addresses["nats"] = f"peer-{os.getpid()}"
        await client.subscribe(addresses["nats"], cb=partial(relay_over_nats, client))
        await client.flush()
    if url := os.environ.get("RABBITMQ_URL"):
        connection = await aio_pika.connect(url)
        channel = await connection.channel()
        queue = await channel.declare_queue(f"peer-{os.getpid()}", exclusive=True)
        await queue.consume(partial(relay_over_amqp, channel.default_exchange))
        addresses["amqp"] = queue.name
    write(addresses)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    # The parent holds the other end for as long as it lives.
    await asyncio.to_thread(sys.stdin.read)
    server.should_exit = True
    await serving


asyncio.run(main())
