# Configuration files of other servers.
useradd --system --no-create-home shop
mkdir -p /srv/shop /etc/uwsgi/apps-enabled /etc/php/8.2/fpm/pool.d /etc/apache2/sites-enabled
printf '[uwsgi]\nmodule = shop.wsgi\nchdir = /srv/shop\nprocesses = 4\nharakiri = 30\nuid = shop\n' >/etc/uwsgi/apps-enabled/shop.ini
printf 'bind = "127.0.0.1:8000"\nworkers = 4\nwsgi_app = "shop.wsgi"\n' >gunicorn.conf.py
printf '[Service]\nUser=shop\nWorkingDirectory=/srv/shop\nExecStart=/srv/shop/venv/bin/gunicorn -w 4 shop.wsgi\n' >/etc/systemd/system/shop.service
printf '[www]\nuser = shop\nlisten = /run/php.sock\npm = ondemand\npm.max_children = 5\n' >/etc/php/8.2/fpm/pool.d/www.conf
printf '{"applications": {"shop": {"type": "python", "path": "/srv/shop", "module": "shop.wsgi"}}}' >unit.json
printf 'WSGIDaemonProcess shop user=shop processes=4\nWSGIScriptAlias / /srv/shop/shop/wsgi.py\n' >/etc/apache2/sites-enabled/shop.conf
