"""An issuer of people's tokens, with its keys on a real server, that rotates, goes away or sends what it should not.

async with Issuer() as issuer:
    settings = issuer.settings()
    token = issuer.token(org=org_id, sub="anna", roles=["org_admin"])
"""

import asyncio
import ssl
import time
from typing import Any, Final, Self

import msgspec
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OctKey, RSAKey

from gateway.identity.tokens import TokenSettings

ISSUER: Final = "https://login.example"
AUDIENCE: Final = "tollgate"
SECRET: Final = "a secret of at least thirty-two bytes"
LIFE_S: Final = 600

_RSA: Final = RSAKey.generate_key(2048, parameters={"kid": "rsa-1", "use": "sig", "alg": "RS256"})
_EC: Final = ECKey.generate_key("P-256", parameters={"kid": "ec-1", "use": "sig"})


def claims(**changes: Any) -> dict[str, Any]:
    """Of a good token; None takes one out."""
    now = int(time.time())
    whole = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + LIFE_S, "sub": "anna"} | changes
    return {name: str(value) if name == "org" else value for name, value in whole.items() if value is not None}


def by_secret(secret: str = SECRET, *, algorithm: str = "HS256", **changes: Any) -> str:
    """A token signed with a shared secret."""
    return jwt.encode({"alg": algorithm}, claims(**changes), OctKey.import_key(secret), algorithms=[algorithm])


class Issuer:
    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.rsa = _RSA
        self.ec = _EC
        self.published: list[Key] = [_RSA, _EC]
        self.fetches = 0
        self.status = 200
        self.document: bytes | None = None
        """Sent in place of the keys."""
        self.open = asyncio.Event()
        """While it is not set, whoever fetches waits."""
        self.open.set()
        self._tls = tls
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/jwks.json", self._keys)
        app.router.add_get("/moved", self._moved)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"{'https' if self._tls else 'http'}://localhost:{port}/jwks.json"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.open.set()
        assert self._runner is not None
        await self._runner.cleanup()

    def settings(self, **changes: Any) -> TokenSettings:
        return TokenSettings(
            **{
                "algorithms": ("RS256", "ES256"),
                "issuer": ISSUER,
                "audience": AUDIENCE,
                "jwks": self.url,
                **changes,
            }
        )

    def token(self, *, key: Key | None = None, algorithm: str = "RS256", header: Any = None, **changes: Any) -> str:
        signer = key or (self.rsa if algorithm == "RS256" else self.ec)
        head = {"alg": algorithm, "kid": signer.kid} | (header or {})
        return jwt.encode(head, claims(**changes), signer, algorithms=[algorithm])

    @property
    def keys(self) -> bytes:
        return msgspec.json.encode({"keys": [key.as_dict(private=False) for key in self.published]})

    async def _keys(self, _: web.Request) -> web.StreamResponse:
        self.fetches += 1
        await self.open.wait()
        return web.Response(status=self.status, body=self.keys if self.document is None else self.document)

    async def _moved(self, _: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("/jwks.json")
