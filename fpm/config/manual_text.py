"""The parts of pyfpm.conf(5) that do not come from the table of directives, in mdoc(7). Pure."""

from __future__ import annotations

HEAD = r"""
.Dd November 21, 2026
.Dt PYFPM.CONF 5
.Os
.Sh NAME
.Nm pyfpm.conf
.Nd configuration of the FastCGI process manager for Python
.Sh DESCRIPTION
The main file of
.Xr pyfpm 8
has the section
.Ql [global]
for the daemon itself, a section for each pool of workers, and
.Ql include
lines which name further files, usually one for each pool.
Names of directives, their units and defaults are those of PHP-FPM,
and so is the format of the files; differences are listed in
.Sx DIFFERENCES FROM PHP-FPM .
.Pp
.Ic pyfpm test
reads everything, reports all mistakes at once, each with file and line,
and changes nothing;
.Ic pyfpm test --dump
also prints every value in effect.
.Sh FILES AND SECTIONS
Files are UTF-8 text.
A line is empty, a comment, a section header
.Ql [NAME] ,
or
.Ql directive = value .
.Bl -bullet
.It
A comment begins with
.Ql \&;
anywhere, or with
.Ql #
at the start of a line or after a space.
Inside double quotes, and in a value that is quoted as a whole,
neither begins a comment.
.It
Names of sections and directives are case-insensitive.
A section that occurs again in its file is continued, with a notice; the same
pool in two files is a mistake.
If a directive occurs several times, the last value is used.
Lines before the first section header belong to
.Ql [global] .
.It
The name of a pool has up to 63 letters, digits and
.Ql . _ @ + ~ - ,
and begins with a letter, a digit or
.Ql _ .
.It
.Ql include = GLOB
can be used in any section, nested up to 5 levels.
A relative pattern is relative to the directory of the including file.
Files are read in alphabetical order, as if their text replaced the line;
the section continues after it.
A pattern that matches nothing is not an error, but causes a notice.
.El
.Sh VALUES
A value may be in double quotes, where
.Ql \e\(dq
and
.Ql \e\e
stand for a quote and a backslash, or in single quotes,
where nothing is replaced.
A value is a single line.
Everywhere else these are replaced:
.Bl -tag -width "${NAME:-default}"
.It Li $pool
the name of the pool
.It Li ${NAME}
the variable NAME of the environment in which pyfpm was started; it must be set
.It Li ${NAME:-default}
the same, with a value to use if it is not set or empty
.El
.Pp
The types are:
.Bl -tag -width "networks"
.It Em boolean
.Li yes , on , true , 1
or
.Li no , off , false , none , 0
.It Em integer
a whole number
.It Em size
a number of bytes, or with one of the suffixes K, M, G, T for powers of 1024
.It Em time
seconds, or with one of the suffixes
.Li ms , s , m , h , d
.It Em limit
a size, or
.Li unlimited
.It Em mode
an octal number
.It Em cpus
numbers of CPUs and ranges of them, as in 0-3,6
.It Em choice
one of a list of words
.It Em account
a user or group, by name or by number
.It Em address
.Li /path/to/socket ,
.Li @name ,
.Li address:port ,
.Li [IPv6 address]:port
or
.Li port
.It Em networks
IP addresses and networks such as 10.0.0.0/8, separated by commas or spaces
.It Em words
words separated by commas or spaces
.It Em users , groups
names or numbers, separated by commas or spaces
.It Em extensions
of files, with their dots, separated by commas or spaces
.It Em path , file
absolute, or relative to
.Ic prefix .
The directory of a file that pyfpm writes must exist.
.It Em url
the path of a URL, beginning with a slash
.It Em application , mount , format , priority , share , text
as described for the directive
.El
""".lstrip("\n")

TAIL = r"""
.Sh FILES
.Bl -tag -width "/etc/pyfpm/pools.d/*.conf" -compact
.It Pa /etc/pyfpm/pyfpm.conf
main file
.It Pa /etc/pyfpm/pools.d/*.conf
one file for each pool
.It Pa /run/pyfpm
sockets; created by pyfpm if missing
.El
.Sh EXAMPLES
The main file:
.Bd -literal -offset indent
[global]
error_log = /var/log/pyfpm/error.log
include = pools.d/*.conf
.Ed
.Pp
A pool, in
.Pa /etc/pyfpm/pools.d/shop.conf :
.Bd -literal -offset indent
[shop]
user = shop
app = shop.wsgi:application
chdir = /srv/$pool
venv = /srv/$pool/venv

listen = /run/pyfpm/$pool.sock
listen.group = www-data

pm = ondemand
pm.max_children = 10
.Ed
.Pp
The lines for nginx:
.Bd -literal -offset indent
location / {
    include fastcgi_params;
    fastcgi_pass unix:/run/pyfpm/shop.sock;
}
.Ed
.Sh SEE ALSO
.Xr pyfpm 8
""".lstrip("\n")
