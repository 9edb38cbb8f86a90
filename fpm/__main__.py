"""`python -m fpm` is `pyfpm`."""

from fpm.cli.main import main

if __name__ == "__main__":
    main()
