# A site with releases behind a symlink: 41 serves, 42 has just been put beside it, and the link leads to it.
useradd --system --no-create-home shop
for release in 41 42; do
    mkdir -p /srv/shop/releases/$release
    python3 -m venv --without-pip /srv/shop/releases/$release/venv
    cat >/srv/shop/releases/$release/shop.py <<'END'
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok\n"]
END
done
ln -s releases/41 /srv/shop/current
printf '[global]\ninclude = pools.d/*.conf\n' >/etc/pyfpm/pyfpm.conf
cat >/etc/pyfpm/pools.d/shop.conf <<'END'
[shop]
user = shop
listen = /run/pyfpm/shop.sock
chdir = /srv/shop/current
venv = /srv/shop/current/venv
app = shop:application
reload.check = GET /healthz 200 5s
pm = static
pm.max_children = 2
END
start_daemon
ln -sfn releases/42 /srv/shop/current
