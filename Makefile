# make help says what there is. Every target sets up what it needs (see .ci/setup).

SHELL = /bin/sh
VENV = .venv
PYTHON =
export VENV PYTHON
BIN = $(VENV)/bin
TEST_COMMANDS = nginx:nginx-light cgi-fcgi:libfcgi-bin mandoc:mandoc
# Their tests are skipped where they are missing: a browser for the HTML page, a monitor that wants its libraries, web
# servers for the sites in contrib/, of which two also start a FastCGI program by themselves, shells that complete commands.
WANTED_COMMANDS = chromium:chromium zabbix_agentd:zabbix-agent lighttpd:lighttpd apache2:apache2-bin \
	/usr/lib/apache2/modules/mod_fcgid.so:libapache2-mod-fcgid haproxy:haproxy caddy:caddy h2o:h2o \
	/usr/lib/lighttpd/mod_openssl.so:lighttpd-mod-openssl \
	zsh:zsh fish:fish /usr/share/bash-completion/bash_completion:bash-completion
BENCH_COMMANDS = nginx:nginx-light gcc:gcc /usr/include/stdio.h:libc6-dev
# Without them a server is left out of the comparison, or uWSGI is Debian's.
BENCH_WANTED = /var/lib/dpkg/info/php-fpm.list:php-fpm python3-config:python3-dev uwsgi:uwsgi-core uwsgi_python3:uwsgi-plugin-python3
LONG_FIRST = tests/process tests/component tests/unit
# Where `make install` puts pyfpm, and its units, manual pages and completions.
PREFIX = /opt/pyfpm
USR = /usr/local
DESTDIR =
DEMO_BIND = 127.0.0.1:8000

.PHONY: help demo test test-all test-deb test-rpm hostile fuzz mutants lint types docs bench bench-report bench-reload bench-trace man install deb rpm setup clean

help:           ## this text
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo:           ## the example application on http://127.0.0.1:8000/ until Ctrl-C
	@.ci/setup demo
	@cd examples/hello && exec ../../$(BIN)/pyfpm serve --bind $(DEMO_BIND) hello:application

test:           ## all tests (PYTEST_ARGS="-k word" for some); says what it will install: .venv, as root Debian packages
	@.ci/setup announce $(TEST_COMMANDS) $(WANTED_COMMANDS)
	@.ci/setup venv
	@.ci/setup system $(TEST_COMMANDS)
	@.ci/setup wanted $(WANTED_COMMANDS)
	@.ci/setup monitors
	@.ci/setup applications
	@.ci/setup machine
	@# Attacks are measured, so they have the machine for themselves. Process tests wait half of the time: four suit two
	@# cores. A file is one piece of work, so the long ones begin first and the short ones fill what is left at the end.
	@# With a variable PYTHON* in its environment each `pyfpm` would execute itself once more, and keep no bytecode before.
	@unset PYTHONDONTWRITEBYTECODE PYTHONUNBUFFERED; \
	status=0; $(BIN)/python -m pytest -q -W error $(PYTEST_ARGS) tests/hostile || status=$$?; \
	[ $$status != 5 ] || status=0; \
	$(BIN)/python -m pytest -q -n 4 --dist loadfile --no-loadscope-reorder -o testpaths="$(LONG_FIRST)" -W error \
	    $(PYTEST_ARGS) && exit $$status

test-all:       ## the tests with each Python from 3.11 to 3.14 that is here, in .venv-3.11 ...; says which are missing
	@status=0; for found in $$(.ci/setup pythons); do \
	    echo "Python $${found%%:*} ($${found#*:})"; \
	    $(MAKE) --no-print-directory test VENV=.venv-$${found%%:*} PYTHON=$${found#*:} || status=1; \
	done; exit $$status

test-deb: deb setup ## the Debian package built, and installed, upgraded and purged in a machine booted for it (3 min)
	@.ci/setup machine
	@$(BIN)/python -m pytest -q -W error tests/process/test_debian_package.py

test-rpm: rpm setup ## the same with the RPM (3 min)
	@.ci/setup machine
	@$(BIN)/python -m pytest -q -W error tests/process/test_rpm_package.py

hostile: setup  ## attacks of a pool on the others, in random mixtures for 30 minutes (HOSTILE_ARGS="--minutes 5")
	@$(BIN)/python -m tests.hostile.mixtures $(HOSTILE_ARGS)

fuzz: setup     ## odd inputs for the compiled hot path, with sanitizers: 10 million, minutes (FUZZ_ARGS="--count 100000")
	@nice -n 10 $(BIN)/python -m tests.fuzz $(FUZZ_ARGS)

mutants: setup  ## faults planted one at a time (tests/mutants.toml), that the tests must notice (MUTANTS="name name")
	@$(BIN)/python -m tests.plant_mutants $(MUTANTS)

lint: setup     ## ruff, manual pages, units, and the site if its tools are here (make docs)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@if command -v mandoc >/dev/null; then mandoc -Tlint -Wwarning man/*.[0-9]; fi
	@if command -v systemd-analyze >/dev/null; then .ci/check-units; fi
	@if command -v shellcheck >/dev/null; then shellcheck .ci/run .ci/setup .ci/package; fi
	@if $(BIN)/python -c 'import furo, myst_parser' 2>/dev/null; then $(MAKE) --no-print-directory -s docs; fi

types: setup    ## mypy --strict
	@$(BIN)/mypy fpm

docs: setup     ## docs/ as a site in build/docs; a broken reference is an error
	@.ci/setup docs
	@$(BIN)/python -m sphinx -q -W --keep-going -b html -d build/doctrees docs build/docs
	@echo build/docs/index.html

bench: setup    ## pyfpm beside uWSGI, Gunicorn, PHP-FPM, flup6 and a floor in C (BENCH_ARGS="hello-kept --json FILE"; FULL=1)
	@.ci/setup system $(BENCH_COMMANDS)
	@.ci/setup wanted $(BENCH_WANTED)
	@FULL=$(FULL) $(BIN)/python -m bench $(BENCH_ARGS)

bench-report: setup ## docs/performance.md and .svg, and the figures of README.md, from a kept run (FILE=run.json)
	@$(BIN)/python -m bench report $(FILE) --svg docs/performance.svg --readme README.md >docs/performance.md

bench-reload: setup ## a deploy of broken code, and of good code under load, beside uWSGI and Gunicorn (100 s)
	@.ci/setup system $(BENCH_COMMANDS)
	@$(BIN)/python -m bench broken good $(BENCH_ARGS)

bench-trace: setup ## how long a worker stands still while its stack is read, beside py-spy (1 min)
	@$(BIN)/python -m bench trace $(BENCH_ARGS)

man: setup      ## write man/pyfpm.conf.5, docs/directives.md, docs/lifecycles.md, sample configurations and sites
	@$(BIN)/python -m fpm.config.manual
	@$(BIN)/python -m tests.support.lifecycles
	@$(BIN)/python -m tests.support.sites

install:        ## as a service: a virtual environment in PREFIX=/opt/pyfpm, and `pyfpm setup` (DESTDIR: tree of a package)
	@.ci/package install "$(DESTDIR)" "$(PREFIX)" "$(USR)"

deb:            ## the Debian package, in build/deb
	@.ci/package deb

rpm:            ## the RPM package, in build/rpm
	@.ci/package rpm

setup:          ## what the other targets need, and which hot path is in force
	@.ci/setup venv
	@$(if $(filter setup,$(MAKECMDGOALS)),.ci/setup hotpath)

clean:          ## remove what the other targets made
	rm -rf .venv .venv-* build dist fpm/*.so *.egg-info .mypy_cache .ruff_cache .pytest_cache
