"""Pool directives for identity and the listening socket."""

from __future__ import annotations

from fpm.config.tables.entry import Directive, DirectiveGroup

IDENTITY = DirectiveGroup(
    "Pool: identity",
    "pool",
    (
        Directive(
            "user",
            "account",
            None,
            "User of the pool's processes, a name or a number. Mandatory when pyfpm runs as root, otherwise ignored "
            "with a notice. root is rejected unless pyfpm is started with `-R`.",
        ),
        Directive(
            "group",
            "account",
            None,
            "Group of the pool's processes, a name or a number. See `supplementary_groups` for the others.",
            default_note="the user's primary group",
        ),
        Directive(
            "supplementary_groups",
            "words",
            None,
            "Groups of the pool's processes beside `group`, names or numbers, in place of the user's in the group "
            "database. `none` means no others. Group root is rejected unless pyfpm is started with `-R`. Ignored with "
            "a notice when pyfpm does not run as root.",
            default_note="the groups that the user is a member of",
            differs="PHP-FPM always sets the user's.",
        ),
        Directive(
            "prefix",
            "path",
            None,
            "Base directory of the pool's relative paths.",
            default_note="the option `-p`, else the directory of the main configuration file",
            differs="PHP-FPM has a directory set at compile time.",
        ),
    ),
)

SOCKET = DirectiveGroup(
    "Pool: the listening socket",
    "pool",
    (
        Directive(
            "listen",
            "address",
            None,
            "Address at which the pool accepts FastCGI requests: `/path/to/socket`, `address:port`, "
            "`[v6 address]:port`, `port` for all addresses, or `@name` for an abstract Unix socket (unix(7)). Such a "
            "socket has no file, so every process in the network namespace can connect to it; nginx cannot. A path or "
            "a name can be at most 107 bytes long.",
            differs="A path that is too long is an error; PHP-FPM truncates it.",
            mandatory=True,
        ),
        Directive(
            "listen.backlog",
            "integer",
            "-1",
            "Maximum length of the queue of pending connections, see listen(2). -1 means the maximum that the system "
            "allows (`net.core.somaxconn`).",
            minimum=-1,
            applies="socket",
        ),
        Directive(
            "listen.owner",
            "account",
            None,
            "Owner of the Unix socket: the web server's user. Alternatively, set `listen.group`.",
            default_note="the user that pyfpm runs as",
            applies="socket",
        ),
        Directive(
            "listen.group",
            "account",
            None,
            "Group of the Unix socket, usually that of the web server.",
            default_note="the group that pyfpm runs as",
            applies="socket",
        ),
        Directive("listen.mode", "mode", "0660", "Mode of the Unix socket, octal.", applies="socket"),
        Directive(
            "listen.acl_users",
            "users",
            None,
            "Users who may connect to the Unix socket, by a POSIX access control list (acl(5)), beside those whom "
            "`listen.mode` allows: names or numbers, separated by commas or spaces. With a list, the socket belongs to "
            "the user that pyfpm runs as, and `listen.owner` and `listen.group` are ignored with a notice.",
            default_note="no list",
            differs="A file system without access control lists is an error of the pool; PHP-FPM logs it and exits.",
            applies="socket",
        ),
        Directive(
            "listen.acl_groups",
            "groups",
            None,
            "Groups whose members may connect to the Unix socket, like `listen.acl_users`.",
            default_note="no list",
            applies="socket",
        ),
        Directive(
            "listen.allowed_clients",
            "networks",
            None,
            "Addresses and networks (`10.0.0.0/8`) that may connect by TCP, separated by commas or spaces. "
            "Host names are not resolved, and so are errors. Not for Unix sockets.",
            default_note="any",
            differs="Networks are accepted, and a wrong address is an error at startup; PHP-FPM then rejects all "
            "clients.",
            applies="live",
        ),
    ),
)

GROUPS = (IDENTITY, SOCKET)
