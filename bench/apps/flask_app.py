"""A Flask site: a view with a template."""

from flask import Flask, render_template

application = Flask(__name__)


@application.get("/")
def page():
    items = [{"number": number, "name": f"item {number}", "price": number * 1.25} for number in range(20)]
    return render_template("page.html", title="20 items", items=items)
