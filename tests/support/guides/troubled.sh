# A pool with two problems: nobody but its user may pass the directory of its socket, and its application lacks a module.
useradd --system --no-create-home shop
mkdir -p /srv/shop/app
printf 'import os\n\nimport shop.settings\n' >/srv/shop/app/wsgi.py
mkdir /srv/shop/app/shop
touch /srv/shop/app/shop/__init__.py
chown -R shop: /srv/shop
chmod 700 /srv/shop
printf '[global]\ninclude = pools.d/*.conf\n' >/etc/pyfpm/pyfpm.conf
cat >/etc/pyfpm/pools.d/shop.conf <<'END'
[shop]
user = shop
listen = /srv/shop/shop.sock
listen.group = www-data
app = wsgi:application
chdir = /srv/shop/app
pm = ondemand
pm.max_children = 5
END
