"""Pyramid: send the mail after the customer has the response.

    app = pyramid_orders:make_app()

The function runs after the request's finished callbacks (`request.add_finished_callback`), and so after pyramid_tm has
committed or given up the transaction; it must not touch `request` any more.
"""

from pyramid.config import Configurator
from pyramid.response import Response

import fpm


def order(request):
    fpm.after_response(deliver, request.params["to"])
    return Response("Thank you\n", content_type="text/plain")


def deliver(address):
    print(f"mail to {address}")


def make_app():
    with Configurator() as config:
        config.add_route("order", "/order")
        config.add_view(order, route_name="order")
        return config.make_wsgi_app()
