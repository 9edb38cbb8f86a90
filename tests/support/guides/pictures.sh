# Sites with traffic, for the pictures of the documents: one is saturated, one has failed, one sleeps. The charts show an
# hour, so it takes a quarter of it.
useradd --system --no-create-home shop
printf '[global]\ninclude = pools.d/*.conf\nstatus_listen = 127.0.0.1:9001\nstatus_listen.details = yes\n' >/etc/pyfpm/pyfpm.conf
for name in shop blog wiki intranet newsletter; do
    mkdir -p /srv/$name
    cat >/srv/$name/wsgi.py <<'END'
import time
BALLAST = b"x" * 30_000_000
def application(environ, start_response):
    time.sleep(float(environ.get("QUERY_STRING") or 0))
    if environ["PATH_INFO"] == "/feed.xml":
        raise KeyError("updated")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello\n"]
END
    printf '%s\n' "[$name]" "user = shop" "listen = /run/pyfpm/$name.sock" "app = wsgi:application" "chdir = /srv/$name" \
        "pm = dynamic" "pm.max_children = 8" "pm.start_servers = 2" "pm.min_spare_servers = 1" "pm.max_spare_servers = 3" \
        "request_slowlog_timeout = 1s" "slowlog = /var/log/pyfpm/$name.slow.log" >/etc/pyfpm/pools.d/$name.conf
done
echo 'import shop.settings' >/srv/newsletter/wsgi.py
sed -i 's/^pm = .*/pm = ondemand/; /servers/d' /etc/pyfpm/pools.d/intranet.conf
start_daemon
load() { # SOCKET PATH QUERY PAUSE: one client after another, for the time of the pictures
    (cd "$repository" && exec .venv/bin/python -c '
import sys, time
from tests.support import raw_fastcgi
address, path, query, pause = sys.argv[1:]
while True:
    raw_fastcgi.get(address, path, query=query)
    time.sleep(float(pause))
' "/run/pyfpm/$1.sock" "$2" "$3" "$4") &
}
crowd() { # SECONDS: more buyers than the shop has workers
    for _ in {1..9}; do load shop "/search/17" 0.5 0.1; crowd+=($!); done
    sleep "$1"
    kill "${crowd[@]}"
    crowd=()
}
load shop /cart 0.4 0.1
load shop /product/17 0.2 0.05
load blog / 0.02 0.02
load blog /2026/11/ 0.03 0.1
load wiki /start 0.1 0.2
sleep 240
crowd 100
load shop /checkout 0.6 0.1
sleep 120
pyfpm reload shop
pyfpm request blog /feed.xml >/dev/null 2>&1
kill -9 "$(pgrep -f 'pyfpm: pool blog' | head -n 1)"
sleep 240
pyfpm request wiki '/search?1.5' >/dev/null
pyfpm request blog /feed.xml >/dev/null 2>&1
crowd 240 &
sleep 60
pyfpm request shop '/report/2026?30' >/dev/null 2>&1 &
pyfpm request blog /feed.xml >/dev/null 2>&1
sleep 15
