"""What takes room on the engine's disk and is needed no more: older images of ours, and the cache of builds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import docker.errors

from autograder.sandbox.engine import Engine, engine_errors
from autograder.sandbox.image import is_current
from autograder.sandbox.tags import IMAGE_TAG


@dataclass(frozen=True)
class Removable:
    """One thing that can go.

    Args:
        image: its id; None for the cache of builds as a whole.
        says: what it is.
        size: bytes that removing it frees, as the engine counts them.
    """

    image: str | None
    says: str
    size: int


def removable(client: Engine) -> list[Removable]:
    """Images of ours that a newer one replaced, images of course packages made by another version of this program, and
    the build cache that no build is using. The image that submissions run in stays, and so does every other image.

    Raises:
        Infrastructure: the engine failed.
    """
    with engine_errors():
        usage = client.df()
    found = [*_images(usage.get("Images") or [])]
    cache = sum(int(row.get("Size") or 0) for row in usage.get("BuildCache") or [] if not row.get("InUse"))
    if cache:
        found.append(Removable(None, "cache of image builds", cache))
    return found


def remove(client: Engine, found: list[Removable]) -> int:
    """Remove what was found, and return the bytes it took. What a container still uses stays."""
    freed = 0
    for one in found:
        with contextlib.suppress(docker.errors.APIError):
            if one.image is None:
                freed += int(client.prune_builds().get("SpaceReclaimed") or 0)
            else:
                client.remove_image(one.image, force=False)
                freed += one.size
    return freed


def _images(rows: list[dict[str, object]]) -> Iterator[Removable]:
    for row in rows:
        labels, tags = row.get("Labels") or {}, row.get("RepoTags") or []
        assert isinstance(labels, dict)
        assert isinstance(tags, list)
        if "autograder.content" not in labels or IMAGE_TAG in tags or (tags and is_current(labels)):
            continue
        size = int(str(row.get("Size") or 0)) - max(int(str(row.get("SharedSize") or 0)), 0)
        name = ", ".join(tags) if tags else str(row["Id"]).removeprefix("sha256:")[:12]
        yield Removable(str(row["Id"]), f"older image {name}", max(size, 0))
