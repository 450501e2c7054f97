"""`course.yaml`: its own keys, and one section for each folder that reads one."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from autograder.course.late import LateRule
from autograder.course.policy import Component, Name
from autograder.sandbox.settings import ImageSettings, SandboxSettings
from autograder.submissions.person import Person
from autograder.submissions.settings import Deadlines
from autograder.yamlfile import StrictModel

ADDRESS = re.compile(r"(tls|tcp)://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})")
SQLITE = "sqlite:///"


def address_of(text: str) -> str:
    """An address as Dask takes it. Raises ValueError, the rest of a sentence."""
    found = ADDRESS.fullmatch(text)
    if found is None or not 0 < int(found[3]) < 65536:
        raise ValueError("should be an address such as tls://scheduler:8786")
    return text


class ClusterSettings(StrictModel):
    """Machines that help to grade."""

    address: Annotated[str, AfterValidator(address_of)] | None = None  # of the scheduler; None: this machine grades
    certificates: str = "cluster"  # their folder, from the course folder on unless absolute


class CourseConfig(StrictModel):
    """`course.yaml`."""

    name: str
    assignments: str
    solutions: str
    gradebook: str = f"{SQLITE}gradebook.db"
    salt: int = Field(default=0, ge=0)  # seeds derive from it; secret, of at least 128 bits, another in every course
    students: list[Person] = Field(default=[])
    release_url: str = ""  # of the folder where released files lie; released notebooks fetch what they need from there
    datasets: dict[str, str] = Field(default={})  # name -> folder, from the course folder on unless absolute
    due: Deadlines = Field(default={})
    late: LateRule = LateRule()
    policy: str = ""  # one that ships, or a file of the course folder
    components: dict[Name, Component] = Field(default={})  # what the course says in the place of its policy
    sandbox: SandboxSettings = SandboxSettings()
    image: ImageSettings = ImageSettings()
    cluster: ClusterSettings = ClusterSettings()
