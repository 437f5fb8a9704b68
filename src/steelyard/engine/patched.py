"""Import this before anything that opens sockets: pyinfra runs its hosts in gevent's greenlets."""

from gevent import monkey

monkey.patch_all()
