"""Bottle: send the mail after the customer has the response.

app = bottle_orders:app
"""

from bottle import Bottle, request, response

import fpm

app = Bottle()


@app.get("/order")
def order():
    fpm.after_response(deliver, request.query["to"])
    response.content_type = "text/plain"
    return "Thank you\n"


def deliver(address):
    print(f"mail to {address}")
