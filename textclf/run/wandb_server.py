"""Whether W&B's server can be used, found out without starting W&B: once started, it takes no more settings."""

from __future__ import annotations

import configparser
import netrc
import os
import ssl
import sys
import threading
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import build_opener, getproxies

from textclf.errors import UserError

PUBLIC = "https://api.wandb.ai"
PATIENCE = 5.0
"""Seconds to wait for an answer of the server; W&B itself would wait for 90 s, and then fail."""
PROXY_REFUSES = 407


def why_offline() -> str | None:
    """Why a record has to stay on this machine: no key, or no server; None where W&B can be used."""
    address = _address()
    if not _has_key(address):
        return "no W&B key was found"
    reason = _unreachable(address)
    if reason is None:
        return None
    return f"W&B cannot be reached at {address} ({reason})"


def refusal(error: BaseException) -> UserError | None:
    """An error of W&B, such as that of an invalid key, as one line; None for any other error."""
    errors = sys.modules.get("wandb.errors")
    if errors is None or not isinstance(error, errors.Error):
        return None
    reason = " ".join(str(error).split())
    return UserError(f"W&B refuses the run ({reason}): `wandb login --relogin`, or set WANDB_MODE=offline")


def _address() -> str:
    """The server's address, from where W&B takes it: the environment, the folder's settings, or the user's."""
    if given := os.environ.get("WANDB_BASE_URL"):
        return given.rstrip("/")
    home = Path(os.environ.get("WANDB_CONFIG_DIR") or Path.home() / ".config" / "wandb")
    settings = configparser.ConfigParser(interpolation=None)
    try:
        settings.read([home / "settings", Path("wandb", "settings")])
    except (configparser.Error, UnicodeDecodeError):
        return PUBLIC
    return settings.get("default", "base_url", fallback=PUBLIC).rstrip("/")


def _has_key(address: str) -> bool:
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    try:
        logins = netrc.netrc(os.environ.get("NETRC") or Path.home() / ".netrc")
    except (OSError, netrc.NetrcParseError):
        return False
    return logins.authenticators(urlsplit(address).netloc) is not None


def _unreachable(address: str) -> str | None:
    """Why a server does not answer; None where it does, even with a refusal."""
    found: list[str | None] = []
    # In a thread, because the lookup of a host name cannot be given a time limit.
    probe = threading.Thread(target=lambda: found.append(_probe(address)), daemon=True)
    probe.start()
    probe.join(PATIENCE)
    return found[0] if found else f"no answer in {PATIENCE:.0f} s"


def _probe(address: str) -> str | None:
    if getproxies().get(urlsplit(address).scheme, "").startswith("socks"):
        return None  # W&B can go through such a proxy, Python's library cannot
    try:
        build_opener().open(address, timeout=PATIENCE).close()  # through the proxy of the environment, if there is one
    except HTTPError as error:
        if error.code >= 500 or error.code == PROXY_REFUSES:
            return f"HTTP {error.code}"
        return None
    except URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            return None  # W&B has certificates of its own
        return getattr(error.reason, "strerror", None) or str(error.reason)
    except (OSError, HTTPException, ValueError) as error:
        return str(error) or type(error).__name__
    return None
