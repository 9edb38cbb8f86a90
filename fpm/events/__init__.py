"""Everything that happens in a manager, as values. Pure.

They are in `master`, `pool` and `worker`; `wire` is their form as JSON. The master emits them; the error log, the
history of a pool, systemd's status and programs (fpm.manager) read them. fpm.event_text makes their text.
"""
