"""Falcon: send the mail after the customer has the response.

app = falcon_orders:app
"""

import falcon

import fpm


class Orders:
    def on_get(self, req, resp):
        fpm.after_response(deliver, req.get_param("to", required=True))
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = "Thank you\n"


def deliver(address):
    print(f"mail to {address}")


app = falcon.App()
app.add_route("/order", Orders())
