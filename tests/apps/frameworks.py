"""A small site in each framework, with what people use it for: sessions, forms, redirects, bodies.

Each framework has a factory here: `app = frameworks:flask()`. Every site has

    POST size     the number of bytes of the body, as the framework's own way to read it finds them
"""


def flask():
    from flask import Flask, flash, get_flashed_messages, redirect, request, session, url_for

    app = Flask("site")
    app.secret_key = "for the tests only"

    @app.get("/")
    def home():
        return f"{session.get('name', 'nobody')}: {', '.join(get_flashed_messages())}"

    @app.post("/login")
    def login():
        session["name"] = request.form["name"]
        flash(f"Welcome, {session['name']}")
        return redirect(url_for("home", _external=True))

    @app.post("/size")
    def size():
        return str(len(request.get_data()))

    return app


def falcon():
    import falcon

    things = {}

    class Thing:
        def on_get(self, request, response, name):
            if name not in things:
                raise falcon.HTTPNotFound(title="No such thing", description=name)
            response.media = things[name]
            response.set_header("Link", f'<{request.uri}>; rel="self"')

        def on_put(self, request, response, name):
            response.status = falcon.HTTP_200 if name in things else falcon.HTTP_201
            things[name] = request.get_media()
            response.location = request.prefix + "/things/" + name

    class Size:
        def on_post(self, request, response):
            response.text = str(len(request.bounded_stream.read()))

    class Upload:
        def on_post(self, request, response):
            parts = ((part.name, part.secure_filename, len(part.stream.read())) for part in request.get_media())
            response.media = [list(part) for part in parts]

    class Numbers:
        def on_get(self, request, response):
            response.stream = (
                f"{number}\n".encode() for number in range(request.get_param_as_int("to", required=True))
            )

    app = falcon.App()
    app.add_route("/things/{name}", Thing())
    app.add_route("/size", Size())
    app.add_route("/upload", Upload())
    app.add_route("/numbers", Numbers())
    return app


def bottle():
    from bottle import Bottle, abort, redirect, request, response, static_file, template

    app = Bottle()
    secret = "for the tests only"

    @app.get("/")
    def home():
        name = request.get_cookie("name", secret=secret)
        return template("<p>{{name}}</p>", name=name) if name else abort(401, "Who are you?")

    @app.post("/login")
    def login():
        response.set_cookie("name", request.forms.name, secret=secret)
        redirect(request.script_name)

    @app.get("/source/<name:path>")
    def source(name):
        return static_file(name, root=".")

    @app.post("/size")
    def size():
        return str(len(request.body.read()))

    return app


def pyramid():
    from pyramid.config import Configurator
    from pyramid.httpexceptions import HTTPSeeOther
    from pyramid.response import Response
    from pyramid.session import SignedCookieSessionFactory

    def home(request):
        return {"name": request.session.get("name"), "token": request.session.get_csrf_token()}

    def login(request):
        request.session["name"] = request.params["name"]
        return HTTPSeeOther(request.route_url("home"))

    def size(request):
        return Response(str(len(request.body)), content_type="text/plain")

    with Configurator(session_factory=SignedCookieSessionFactory("for the tests only")) as config:
        config.set_default_csrf_options(require_csrf=True)
        for name, view, options in (
            ("home", home, {"renderer": "json"}),
            ("login", login, {"request_method": "POST"}),
            ("size", size, {"request_method": "POST", "require_csrf": False}),
        ):
            config.add_route(name, "/" if name == "home" else f"/{name}")
            config.add_view(view, route_name=name, **options)
        return config.make_wsgi_app()


def cherrypy():
    """Its engine is started at import, and watches the application's files in a thread of its own."""
    import atexit

    import cherrypy

    class Site:
        @cherrypy.expose
        def index(self):
            return f"{cherrypy.session.get('name', 'nobody')} {cherrypy.engine.state.name}"

        @cherrypy.expose
        @cherrypy.tools.allow(methods=["POST"])
        def login(self, name):
            cherrypy.session["name"] = name
            raise cherrypy.HTTPRedirect(cherrypy.url("/"))

        @cherrypy.expose
        @cherrypy.config(**{"request.body.processors": {}})
        def size(self):
            return str(len(cherrypy.request.body.fp.read()))

    cherrypy.server.unsubscribe()
    cherrypy.config.update({"log.screen": False, "engine.autoreload.on": True})
    cherrypy.tree.mount(Site(), "/cherrypy", {"/": {"tools.sessions.on": True}})
    cherrypy.engine.start()
    atexit.register(cherrypy.engine.exit)  # as CherryPy's own documentation has it; else it warns when a process ends
    return cherrypy.tree
