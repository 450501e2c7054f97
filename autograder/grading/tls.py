"""Who may talk to a cluster: certificates of one authority, and addresses that are encrypted unless somebody insists.

Whoever reaches the port of a scheduler can run code on every machine of its cluster, and read what is hidden there.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from autograder.course.settings import address_of
from autograder.errors import UserError

if TYPE_CHECKING:
    from distributed.security import Security

Role = Literal["scheduler", "worker", "client"]
ROLES: tuple[Role, ...] = ("scheduler", "worker", "client")
AUTHORITY = "ca.pem"
NO_EXTRA = 'a cluster needs packages that are not installed; `pip install "dgm-autograder[cluster]"`'
PLAIN = (
    "{address} is not encrypted, and whoever reaches that port can run code on every machine of the cluster: use "
    "tls:// with certificates of `autograder cluster init`, or add `--no-tls` where nobody else reaches the network"
)


def look_for_extra() -> None:
    """Raise UserError if what a cluster needs is not installed."""
    try:
        import distributed
        import trustme
    except ImportError:
        raise UserError(NO_EXTRA) from None
    del distributed, trustme


def make_certificates(folder: Path) -> list[Path]:
    """Make an authority and a certificate for each role; the authority's own key is kept nowhere.

    Returns:
        the files, each of which only their owner may read.

    Raises:
        UserError: there is something in the folder already, or it cannot be made.
    """
    look_for_extra()
    import trustme

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not empty; name another folder, or remove it for new certificates.")
    authority = trustme.CA(organization_name="autograder cluster", organization_unit_name="authority")
    contents = {AUTHORITY: authority.cert_pem.bytes()}
    for role in ROLES:
        own = authority.issue_cert(f"{role}.autograder.internal", common_name=f"autograder {role}")
        contents[f"{role}.pem"] = own.private_key_and_cert_chain_pem.bytes()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        begun = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))  # mode 0700
        for name, content in contents.items():
            with os.fdopen(os.open(begun / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
        begun.replace(folder)
    except OSError as error:
        raise UserError(f"{folder} cannot be made: {error.strerror}.") from None
    return [folder / name for name in contents]


def security(address: str, folder: Path, role: Role, *, plain: bool = False) -> Security | None:
    """How to talk to a cluster: with this machine's certificate, or None for not encrypted.

    Args:
        folder: the certificates; a machine needs the authority's and the one of its own role.
        plain: said by somebody who insists.

    Raises:
        UserError: the address is none or not encrypted, a certificate is missing or others may read it.
    """
    look_for_extra()
    from distributed.security import Security

    try:
        address_of(address)
    except ValueError as error:
        raise UserError(f"`{address}` {error}.") from None
    if address.startswith("tcp://"):
        if not plain:
            raise UserError(PLAIN.format(address=address))
        return None
    authority, own = folder / AUTHORITY, folder / f"{role}.pem"
    for path in (authority, own):
        if not path.is_file():
            raise UserError(
                f"{path} is not there; `autograder cluster init {folder}` makes it, on one machine for all."
            )
    if own.stat().st_mode & 0o077:
        raise UserError(f"others may read the key in {own}; `chmod 600 {own}`.")
    files = {"tls_ca_file": str(authority), f"tls_{role}_cert": str(own), f"tls_{role}_key": str(own)}
    found = Security(require_encryption=True, **files)
    try:
        found.get_connection_args(role)
    except OSError as error:  # ssl.SSLError is one
        raise UserError(f"{own} or {authority} is no certificate ({error.strerror or error}).") from None
    return found
