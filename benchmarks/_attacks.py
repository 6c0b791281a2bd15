"""What strangers send: headers that are wrong, and addresses that lead inside. For the backend's tests and fuzzing."""

from __future__ import annotations

import base64

__all__ = ["basic", "inside", "wrong_headers"]


def basic(user: str, password: str, scheme: str = "Basic") -> str:
    """An Authorization header."""
    return f"{scheme} {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def wrong_headers(secret: str) -> list[str | bytes | None]:
    """Authorization headers of somebody who has not the secret, or does not know how to say it; None is no header."""
    right = basic("maskloop", secret)
    return [
        None,
        "",
        " ",
        "Basic",
        "Basic ",
        "basic",
        "Basic :",
        "Basic =",
        "Basic ====",
        "Basic a",
        "Basic %%%",
        "Basic " + "A" * 3,
        "Basic " + "A" * 60_000,
        basic("maskloop", secret + "x"),
        basic("maskloop", secret[:-1]),
        basic("maskloop", secret.upper()),
        basic("maskloop", ""),
        basic("", secret),
        basic("root", secret),
        basic("Maskloop", secret),
        basic("maskloop", secret) + "=",
        basic("maskloop", secret)[:-1] + "\t",
        basic("maskloop", secret).replace("Basic ", "Basic"),
        basic("maskloop", secret, "Bearer"),
        basic("maskloop", secret, "Digest"),
        basic("maskloop", secret, "Token"),
        f"Bearer {secret}",
        f"Token {secret}",
        secret,
        f"maskloop:{secret}",
        f"Basic maskloop:{secret}",
        basic("maskloop\0", secret),
        basic("maskloop", secret + "\0"),
        basic("maskloop", secret + "\n"),
        basic("maskloop:", secret),
        "Basic ümlaut".encode(),
        "Basic 💥".encode(),
        b"Basic \xff\xfe\xfd",
        b"\x80",
        "Basic " + base64.b64encode(b"\xff\xfe:\xfd").decode(),
        right + ", " + right,
        "Negotiate " + "x" * 100,
        "Basic null",
        "Basic undefined",
    ]


def inside(port: int) -> list[str]:
    """Addresses that lead to the canary at loopback's `port`, or would like to."""
    names = [
        "127.0.0.1", "127.1", "127.0.1", "0", "0.0.0.0", "2130706433", "0x7f000001", "0x7f.1", "017700000001",  # noqa: S104
        "localhost", "LOCALHOST", "localhost.", "127.0.0.1.", "[::1]", "[::]", "[::ffff:127.0.0.1]",
        "[0:0:0:0:0:ffff:7f00:1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "127.0.0.1%00.example",
        "①②⑦.⓪.⓪.①", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "rebinding.example", "169.254.169.254", "[fe80::1]", "[fd00::1]", "10.0.0.1",
        "192.168.0.1", "172.16.0.1", "100.64.0.1", "allowed.example@127.0.0.1", "127.0.0.1#@allowed.example",
        "user:pw@127.0.0.1", "allowed.example\\@127.0.0.1", "127.0.0.1\\.allowed.example", "metadata.google.internal",
    ]  # fmt: skip
    urls = [f"http://{name}:{port}/a" for name in names]
    return [
        *urls,
        f"https://127.0.0.1:{port}/a",
        f"HTTP://127.0.0.1:{port}/a",
        f"ftp://127.0.0.1:{port}/a",
        f"gopher://127.0.0.1:{port}/_a",
        "file:///etc/passwd",
        "dict://127.0.0.1:11211/stats",
        "data:image/png;base64,AAAA",
        "jar:http://127.0.0.1/a",
        f"//127.0.0.1:{port}/a",
        "",
        "http://",
        "http:///a",
        f"http://[127.0.0.1]:{port}/a",
        "http://[::1",
        "http://127.0.0.1:99999/a",
        f"http://127.0.0.1:{port}\t/a",
        f"http://127.0.0.1:{port}\r\nHost: allowed.example/a",
    ]
