"""The examples of examples/background, whose mail waits until a file appears; and marks of what happens when.

Each framework has a factory here: `app = orders:flask()`. Marks go to the file named by MARKS.
"""

import importlib
import os
import select

MARKS = os.environ["MARKS"]
GO = f"{MARKS}.go"


def mark(text):
    with open(MARKS, "a") as file:
        file.write(f"{os.environ['FRAMEWORK']}: {text}\n")


def example():
    """The example's module, whose mail goes into our file, and not before GO is there."""
    module = importlib.import_module(f"{os.environ['FRAMEWORK']}_orders")
    original = module.deliver

    def deliver(address):
        mark("begins")
        for _ in range(3000):
            if os.path.exists(GO):
                break
            select.select([], [], [], 0.01)
        original(address)
        mark(f"mail to {address}")

    module.deliver = deliver
    return module


def django():
    module = example()
    from django.core import signals
    from django.db import connection

    def finished(sender, **kwargs):
        mark(f"request_finished, connection {'open' if connection.connection else 'closed'}")

    signals.request_finished.connect(finished, weak=False)  # after close_old_connections, which Django itself connects
    deliver = module.deliver

    def deliver_and_look(address):
        deliver(address)
        mark(f"connection {'open' if connection.connection else 'closed'} at the end")

    module.deliver = deliver_and_look
    return module.application


def flask():
    module = example()
    from flask import current_app, request

    module.app.teardown_request(lambda error: mark("teardown_request"))
    module.app.teardown_appcontext(lambda error: mark("teardown_appcontext"))
    deliver = module.deliver

    def deliver_in_context(address):
        mark(f"context of {request.path} in {current_app.name}")
        deliver(address)

    module.deliver = deliver_in_context
    return module.app


def falcon():
    module = example()
    module.app.add_middleware(Middleware())
    return module.app


class Middleware:
    def process_response(self, req, resp, resource, req_succeeded):
        mark("process_response")


def bottle():
    module = example()
    module.app.add_hook("after_request", lambda: mark("after_request"))
    return module.app


def pyramid():
    module = example()
    from pyramid.config import Configurator
    from pyramid.events import NewRequest

    def watch(event):
        event.request.add_finished_callback(lambda request: mark("finished callback"))

    def order(request):
        return module.order(request)

    with Configurator() as config:
        config.add_subscriber(watch, NewRequest)
        config.add_route("order", "/order")
        config.add_view(order, route_name="order")
        return config.make_wsgi_app()
