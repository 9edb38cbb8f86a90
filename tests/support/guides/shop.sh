# Two pools and a daemon, as most pages have them: shop, which has been slow once, and blog.
useradd --system --no-create-home shop
mkdir -p /srv/shop /srv/blog
cat >/srv/shop/wsgi.py <<'END'
import time
def application(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(1)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello\n"]
END
cp /srv/shop/wsgi.py /srv/blog/
cat >/etc/pyfpm/pyfpm.conf <<'END'
[global]
include = pools.d/*.conf
status_listen = 127.0.0.1:9001
END
for name in shop blog; do
    cat >/etc/pyfpm/pools.d/$name.conf <<END
[$name]
user = shop
listen = /run/pyfpm/$name.sock
app = wsgi:application
chdir = /srv/$name
pm = static
pm.max_children = 1
pm.status_path = /status
ping.path = /ping
slowlog = /var/log/pyfpm/$name.slow.log
slowlog.format = json
request_slowlog_timeout = 100ms
END
done
cat >/var/log/php8.2-fpm.slow.log <<'END'

[29-Nov-2026 10:00:05]  [pool www] pid 812
script_filename = /srv/php/index.php
[0x00007f0c1c213e70] sleep() /srv/php/index.php:3
END
start_daemon
pyfpm request shop /slow >/dev/null
until [ -s /var/log/pyfpm/shop.slow.log ]; do sleep 0.02; done
