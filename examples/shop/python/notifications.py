"""Notifications in Python: the same service as src/bin/shop-notifications.rs, with OpenTelemetry's SDK for Python.

nats-py has no instrumentation, so that the spans and the propagation are written here by hand.
"""

import asyncio
import json
import os
import signal
import sys
import threading

import nats
from nats.errors import TimeoutError
from nats.js.errors import NotFoundError
from opentelemetry import baggage, propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

SUBJECT = "shipped"
STREAM = "SHIPMENTS"
DURABLE = "notifications"


async def notify(tracer, message):
    sender = propagate.extract(message.headers or {})
    attributes = {
        "messaging.system": "nats",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": STREAM,
        "messaging.consumer.group.name": DURABLE,
    }
    link = trace.Link(trace.get_current_span(sender).get_span_context())
    with tracer.start_as_current_span(
        f"process {STREAM}", context=sender, kind=trace.SpanKind.CONSUMER, links=[link], attributes=attributes
    ) as span:
        try:
            order = json.loads(message.data)
            customer, number = order["customer"], order["number"]
        except (ValueError, LookupError, TypeError) as error:
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(trace.StatusCode.ERROR, str(error))
            print(f"notifications: cannot notify: leaves out a parcel that is no order: {error}", flush=True)
            # Without an answer it would be delivered again and again.
            await message.term()
            return
        # It was set by the gateway, which is written in Rust, six services earlier.
        tier = baggage.get_baggage("shop.tier", sender) or "unknown"
        print(f"notifications: tells {customer} ({tier}) about order {number}", flush=True)
        await message.ack()


def stop_with_stdin():
    """Stops this process at the end of its standard input, which is the end of the program that started it."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


async def main():
    if "SHOP_STOP_WITH_STDIN" in os.environ:
        threading.Thread(target=stop_with_stdin, daemon=True).start()
    provider = TracerProvider(resource=Resource.create({"service.name": "notifications"}))
    # The endpoint and the schedule are in the environment, as for the services in Rust.
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracer = provider.get_tracer("notifications")

    client = await nats.connect(os.environ["NATS_URL"])
    stream = client.jetstream()
    try:
        await stream.stream_info(STREAM)
    except NotFoundError:
        await stream.add_stream(name=STREAM, subjects=[SUBJECT])
    parcels = await stream.pull_subscribe(SUBJECT, durable=DURABLE, stream=STREAM)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print("notifications is ready", flush=True)
    stopped = asyncio.create_task(stop.wait())
    while not stopped.done():
        fetched = asyncio.create_task(parcels.fetch(1, timeout=30))
        await asyncio.wait([fetched, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not fetched.done():
            fetched.cancel()
            break
        try:
            messages = fetched.result()
        except TimeoutError:
            continue
        for message in messages:
            await notify(tracer, message)
    await client.close()
    provider.shutdown()


asyncio.run(main())
