# Sourced by the scenes: start the daemon, as systemd would, and wait until it is ready.
start_daemon() {
    pyfpm run >/var/log/pyfpm/pyfpm.log 2>&1 &
    until grep -q 'ready to handle' /var/log/pyfpm/pyfpm.log; do sleep 0.02; done
}
