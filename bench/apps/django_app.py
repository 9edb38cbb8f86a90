"""A Django site in one file, with what most have installed: a view with a template, a slow one, the admin."""

import time
from pathlib import Path

from django.conf import settings

MIDDLEWARE = """
    security.SecurityMiddleware contrib.sessions.middleware.SessionMiddleware common.CommonMiddleware
    csrf.CsrfViewMiddleware contrib.auth.middleware.AuthenticationMiddleware
    contrib.messages.middleware.MessageMiddleware clickjacking.XFrameOptionsMiddleware
"""
PROCESSORS = ["django.contrib.auth.context_processors.auth", "django.contrib.messages.context_processors.messages"]
settings.configure(
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="of a benchmark",
    ROOT_URLCONF=__name__,
    STATIC_URL="static/",
    INSTALLED_APPS=[f"django.contrib.{name}" for name in ["admin", "auth", "contenttypes", "sessions", "messages"]],
    MIDDLEWARE=[f"django.{'' if n.startswith('contrib') else 'middleware.'}{n}" for n in MIDDLEWARE.split()],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "DIRS": [Path(__file__).parent / "templates"],
            "APP_DIRS": True,
            "OPTIONS": {"context_processors": ["django.template.context_processors.request", *PROCESSORS]},
        }
    ],
)

from django.contrib import admin  # noqa: E402  (settings come first)
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.shortcuts import render  # noqa: E402
from django.urls import path  # noqa: E402


def page(request):
    items = [{"number": number, "name": f"item {number}", "price": number * 1.25} for number in range(20)]
    return render(request, "page.html", {"title": "20 items", "items": items})


def short(request):
    return HttpResponse("ok\n", content_type="text/plain")


def slow(request):
    time.sleep(0.5)
    return HttpResponse("half a second\n", content_type="text/plain")


application = get_wsgi_application()
urlpatterns = [path("", page), path("ok", short), path("slow", slow), path("admin/", admin.site.urls)]
