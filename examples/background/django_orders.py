"""Django: send the mail after the customer has the response.

    app = django_orders:application

The function runs after `request_finished`, so Django has closed the request's database connection as always. Django
opens a new one for what the function does, and closes it at the beginning of the next request; a function that is
followed by a long quiet time had better call `close_old_connections` itself, as this one does.
"""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, connection
from django.http import HttpResponse
from django.urls import path

import fpm

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="only an example",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("DATABASE", ":memory:")}},
)


def order(request):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    # Inside of a transaction: transaction.on_commit(lambda: fpm.after_response(deliver, ...))
    fpm.after_response(deliver, request.GET["to"])
    return HttpResponse("Thank you\n")


def deliver(address):
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 2")
        print(f"mail to {address}")
    finally:
        close_old_connections()


urlpatterns = [path("order", order)]
application = get_wsgi_application()
