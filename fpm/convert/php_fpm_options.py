"""PHP-FPM's directives that are not for Python; all others have the same name and meaning here: data. Pure."""

from __future__ import annotations

from fpm.convert.option import Option, Peer

_PHP_INI = (
    "php.ini settings have no meaning for Python. Pass settings to the application with env[NAME] = value, "
    "or keep them in its own settings module"
)
_FIB = (
    "has no meaning on Linux (it selects a routing table on BSD systems). Remove the line; for a separate network see "
    "network"
)

OPTIONS = (
    Option("events.mechanism", "", "needless", "is not supported, pyfpm always uses epoll. Remove the line"),
    Option("listen.setfib", "", "needless", _FIB),
    Option("php_value", "", "missing", _PHP_INI),
    Option("php_flag", "", "missing", _PHP_INI),
    Option("php_admin_value", "", "missing", _PHP_INI),
    Option("php_admin_flag", "", "missing", _PHP_INI),
    Option("php_admin_value_file", "", "missing", _PHP_INI),
    Option(
        "apparmor_hat",
        "",
        "missing",
        "is not supported. Remove the line; apparmor_profile sets a profile for the pool",
    ),
)

PHP_FPM = Peer("php-fpm", "PHP-FPM", OPTIONS)
NOT_FOR_PYTHON = {option.name: option.note for option in OPTIONS}
"""The sentence that follows `NAME: ` for each."""
