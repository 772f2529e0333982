"""TLS for RabbitMQ: makes kombu heed the TLS options of an `amqps://` URL.

kombu's own transport verifies no certificate by default, refuses the options that the URL of a
Redis has, and after a failover checks the name of the host before. This one reads the options of
each URL, and checks that URL's host.
"""

from __future__ import annotations

import ssl
from typing import Any, Final

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport.pyamqp import SSLTransport

_NAMES: Final = {"ssl_ca_certs": "ca_certs", "ssl_certfile": "certfile", "ssl_keyfile": "keyfile"}


class VerifyingTransport(SSLTransport):
    """kombu's transport for `amqps://`, which verifies unless `ssl_cert_reqs` is none."""

    client: Any

    def establish_connection(self) -> Any:
        """Connect to the current host of the client."""
        given, host = self.client.ssl, self.client.hostname
        self.client.ssl = _options(given if isinstance(given, dict) else {}, host)
        try:
            return super().establish_connection()
        finally:
            # The client keeps what it was given: the next host is another one.
            self.client.ssl, self.client.hostname = given, host


def install() -> None:
    """Use this transport for every `amqps://` URL. Harmless to repeat."""
    TRANSPORT_ALIASES["amqps"] = f"{__name__}:{VerifyingTransport.__name__}"


def _options(given: dict[str, Any], host: str) -> dict[str, Any]:
    verify = given.get("ssl_cert_reqs", ssl.CERT_REQUIRED)
    checks_host = verify != ssl.CERT_NONE and given.get("ssl_check_hostname", True)
    return {
        "cert_reqs": verify,
        **({"server_hostname": host} if checks_host else {}),
        **{ours: given[name] for name, ours in _NAMES.items() if name in given},
    }
