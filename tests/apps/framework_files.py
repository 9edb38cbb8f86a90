"""Files and uploads by Django and Flask, as their manuals do it: the query of /file is the path of the file."""

import hashlib

import flask
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.urls import path

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="of a test")
finished = []


class Counted(FileResponse):
    """Django's signal request_finished hangs on this."""

    def close(self):
        super().close()
        finished.append(self.file_to_stream.closed)


def send(request):
    return Counted(open(request.META["QUERY_STRING"], "rb"))


def stream(request):
    return StreamingHttpResponse(open(request.META["QUERY_STRING"], "rb"))


def receive(request):
    return HttpResponse(hashlib.sha256(request.FILES["file"].read()).hexdigest())


def count(request):
    return HttpResponse(f"{len(finished)} {all(finished)}")


urlpatterns = [path("file", send), path("stream", stream), path("upload", receive), path("finished", count)]
django = get_wsgi_application()

app = flask.Flask(__name__)


@app.get("/file")
def send_by_flask():
    return flask.send_file(flask.request.query_string.decode(), mimetype="text/plain", conditional=True)


@app.post("/upload")
def receive_by_flask():
    return hashlib.sha256(flask.request.files["file"].read()).hexdigest()
