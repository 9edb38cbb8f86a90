# An empty machine, without pyfpm.
rm -rf /usr/local/sbin/pyfpm /run/pyfpm /etc/pyfpm /var/log/pyfpm
