# A machine after `pyfpm setup`, without a pool.
printf '[global]\ninclude = pools.d/*.conf\n' >/etc/pyfpm/pyfpm.conf
