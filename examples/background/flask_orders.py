"""Flask: send the mail after the customer has the response.

    app = flask_orders:app

The function runs after `teardown_request` and `teardown_appcontext`. What it was called with is still there, and so are
`request` and `current_app`, for it runs in the context in which it was given; extensions that keep something for an
context (a session of Flask-SQLAlchemy) need one of its own that is torn down again: `with app.app_context()`.
"""

from flask import Flask, request

import fpm

app = Flask(__name__)


@app.get("/order")
def order():
    fpm.after_response(deliver, request.args["to"])
    return "Thank you\n"


def deliver(address):
    with app.app_context():
        print(f"mail to {address}")
