"""Complete applications as their own documentation deploys them; where their data are comes by the environment.

Radicale needs nothing here: `app = radicale:application`.
"""

import os


def hgweb():
    """Mercurial's contrib/hgweb.wsgi, which has modules imported when they are first used."""
    from mercurial import demandimport

    demandimport.enable()
    from mercurial.hgweb import hgweb

    return hgweb(os.environb[b"HGWEB_CONFIG"])


def pypiserver():
    """Anybody may download, and only who has a password may upload."""
    import pypiserver

    return pypiserver.app(
        roots=[os.environ["PACKAGES"]], password_file=os.environ["PASSWORDS"], authenticate=["update"]
    )
