"""Pool directives for what the processes of a pool see: file system, processes, network."""

from __future__ import annotations

from fpm.config.tables.entry import Directive, DirectiveGroup

JAIL = DirectiveGroup(
    "Pool: jail",
    "pool",
    (
        Directive(
            "isolation",
            "choice",
            None,
            "How much the pool is kept apart, as a set of other directives; what the file says of one of them counts "
            "more. `basic`: `private_tmp = yes` (unless the application lies in `/tmp`), `no_new_privs = yes` and "
            "`seccomp = default`. `strong`: in addition `chroot.automount = yes`, `namespaces = mount pid ipc uts "
            "cgroup`, `private_tmp.size = 256M` and `rlimit_processes = 512`, and where there is a delegated control "
            "group `cgroup.pids_max = 512` and equal shares of processors and disks. The pool then sees no files, "
            "names and processes but its own, and the system's programs and libraries; the network, with the names of "
            "all sockets in `/proc/net`, is the machine's. `sealed`: in addition "
            "`seccomp = strict` and `network = none`. `pyfpm test --dump` shows what has been chosen. What the machine "
            "cannot do is left out with a notice; with `sealed`, the pool does not start then, unless it is the "
            "control group.",
            default_note="`basic` where pyfpm runs as root, else `none`",
            choices=("none", "basic", "strong", "sealed"),
            differs="PHP-FPM has no such thing.",
        ),
        Directive(
            "chroot",
            "path",
            None,
            "Directory that becomes the root of the pool's processes. `$prefix` at its start is the pool's prefix. "
            "An interpreter and its libraries must exist inside, or `chroot.automount` shows those of the machine. "
            "Only for root.",
            differs="The application is imported inside the chroot, not before.",
        ),
        Directive(
            "chroot.automount",
            "boolean",
            "no",
            "Whether the root of the pool's processes is a new file system that holds only what they need, read-only: "
            "the programs and libraries of the machine (`/usr`, `/lib`), the interpreter, the virtual environment, the "
            "files of `/etc` that name services, time zones and TLS read, a few devices, its own `/etc/passwd` and "
            "`/proc`, and an empty `/tmp`. With `chroot`, all that is in that directory appears at `/`, with the "
            "rights that it has, and `python` and `venv` are paths of the machine. Without it, `chdir`, the directory "
            "of the application's file and `pythonpath` appear at their own paths; more with `mount`. "
            "What the packages of `pip install --editable` lead to is not shown. Needs Linux 5.12.",
            differs="PHP-FPM has no such thing.",
        ),
        Directive(
            "rootfs",
            "path",
            None,
            "Directory tree, as made by `mmdebstrap` or exported from a container, that becomes the root of "
            "the file system of the pool's processes, in a separate mount namespace (pivot_root(2)). An interpreter "
            "must exist inside, and the directories `/proc` and `/dev`, which are filled.",
            differs="PHP-FPM has no such thing.",
        ),
        Directive(
            "namespaces",
            "words",
            None,
            "Separate namespaces for the pool (namespaces(7)): `mount pid net ipc uts user cgroup`, or some of them. "
            "With `pid`, the processes of the pool see only themselves, in a `/proc` of their own, and all end when "
            "their template does; logs and status show the pids of the machine. With `net`, there is no network but a "
            "loopback interface, unless `network` says more. With `user`, only the pool's own user and group exist, "
            "and nobody can become another; where pyfpm does not run as root it comes with all others. What "
            "other directives need comes by itself: `mount` with `pid`, `mount`, `rootfs`, `chroot.automount` and "
            "`private_tmp`, `net` with `network`, `uts` with `hostname`. The listening socket is the machine's in any "
            "case.",
            choices=("mount", "pid", "net", "ipc", "uts", "user", "cgroup"),
            aliases=(("network", "net"),),
            differs="PHP-FPM has no such thing.",
        ),
        Directive(
            "hostname",
            "text",
            None,
            "Host name that the pool's processes see.",
            default_note="that of the machine",
        ),
        Directive(
            "network",
            "text",
            "host",
            "Network of the pool's processes: `host`; `none`, which leaves a loopback interface of their own; "
            "`netns:NAME` for one made by ip-netns(8); or `veth ADDRESS/PREFIX`, an interface `eth0` with this "
            "address, connected to `network.bridge`, made and removed with the pool. The pool serves its listening "
            "socket in any case.",
            differs="PHP-FPM has no such thing.",
        ),
        Directive(
            "network.bridge",
            "text",
            None,
            "The bridge to which the interface of `network = veth` is connected. It must exist.",
        ),
        Directive(
            "network.gateway",
            "text",
            None,
            "Address of the default route of `network = veth`, usually the bridge's.",
            default_note="no default route",
        ),
        Directive(
            "mount",
            "mount_line",
            None,
            "A file system that only the pool's processes see, any number of lines. `mount[] = bind SOURCE TARGET "
            "OPTIONS` shows a file or a directory in another place; `tmpfs TARGET size=64M,mode=1777` is an empty one "
            "in memory; `proc TARGET`; `overlay LOWER[:LOWER] TARGET upperdir=DIR,workdir=DIR` shows a directory, what "
            "is written to it goes to another. Options of all: `ro`, `noexec`; set-user-ID bits and devices never "
            "count. TARGET is a path as the pool sees it, and must exist, except with `chroot.automount`. Sources are "
            "opened with the rights of the pool's user, or by root if nobody else can write on the way. All are gone "
            "with the pool's last process.",
            array="list",
            differs="PHP-FPM has no such thing.",
        ),
        Directive(
            "private_tmp",
            "boolean",
            "no",
            "Whether the pool has a `/tmp` and a `/var/tmp` of its own, in memory; TMPDIR is `/tmp` then. They are "
            "kept while the pool is reloaded or sleeps, and gone with the pool or the daemon; where pyfpm does not "
            "run as root, each generation has its own. An application that lies below `/tmp` itself is shown there.",
            differs="PHP-FPM has no such thing.",
        ),
        Directive(
            "private_tmp.size",
            "size",
            None,
            "How much `/tmp`, `/var/tmp` and `/dev/shm` of the pool may hold together, where they are its own. "
            "They are in memory. There can be as many files, links and directories as it has pages of 4096 bytes, and "
            "at least 1024.",
            default_note="half of the machine's memory",
            minimum=65_536,
            maximum=2**50,
        ),
    ),
)

GROUPS = (JAIL,)
