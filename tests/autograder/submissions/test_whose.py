"""Nobody's work under another person's name: only whole keys count, and two readings are nobody's."""

from __future__ import annotations

import pytest

from autograder.submissions.person import Person
from autograder.submissions.roster import Label, Match, Roster

PEOPLE = [
    Person(id="anna", name="Anna Petrova", email="a.petrova@uni.edu", alias=["Nyusha", "hw1 nyusha"]),
    Person(id="petrova", name="Vera Ivanova", canvas_id="77", moodle_id="501"),
    Person(id="gabo", name="Gabriel García Márquez", github="gabo-m"),
    Person(id="li1", name="Wei Li", canvas_id="81"),
    Person(id="li2", name="Wei Li", canvas_id="82", team="Rockets"),
    Person(id="emilie", name="Émilie du Châtelet", team="Rockets"),
    Person(id="noname"),
]


@pytest.fixture(scope="module")
def roster() -> Roster:
    return Roster(PEOPLE, "hw1", "Doubling")


FOUND = {
    "anna": ("anna", ""),
    "ANNA": ("anna", ""),
    "anna_hw1": ("anna", ""),
    "hw1-anna (2)": ("anna", ""),
    "Petrova Anna": ("anna", "by full name"),
    "Anna Petrova - Doubling": ("anna", "by full name"),
    "a.petrova@uni.edu": ("anna", "by e-mail"),
    "nyusha": ("anna", "by alias"),
    "emilie du chatelet": ("emilie", "by full name"),
    "hw1-gabo-m": ("gabo", "by GitHub name"),
    "hw1-gabo-m-main": ("gabo", "by GitHub name"),
}


@pytest.mark.parametrize("key", FOUND)
def test_a_whole_key_names_its_student_and_says_how(roster: Roster, key: str) -> None:
    student, how = FOUND[key]
    assert roster.find(key) == Match((student,), how)


@pytest.mark.parametrize("key", ["anna bob", "anna_final", "anna petrova sergeevna", "petrovaanna2", "xanna", "hw1"])
def test_an_id_or_a_name_inside_a_longer_one_is_nobodys(roster: Roster, key: str) -> None:
    match = roster.find(key)
    assert match.students == ()
    assert match.doubt.startswith("no student of the course is called")


def test_an_id_inside_is_named_with_what_helps(roster: Roster) -> None:
    assert "(`anna`) does not count; name it by the id, or give its student the alias" in roster.find("anna v2").doubt


def test_a_course_page_writes_names_and_a_stranger_called_like_an_id_is_a_stranger(roster: Roster) -> None:
    assert roster.find("Anna") == Match(("anna",))
    assert roster.find(Label("Anna", named=True)).students == ()
    assert roster.find(Label("Anna Bob", named=True)).students == ()
    assert roster.find(Label("noname", named=True)).students == ("noname",)  # no name of theirs speaks against it


def test_two_readings_are_refused_with_both(roster: Roster) -> None:
    doubt = "it could be from `petrova` by moodle_id or `anna` by full name; name it by the student's id."
    assert roster.find(Label("Anna Petrova", named=True, moodle="501")).doubt == doubt
    doubt = "it could be from `li1` by full name or `li2` by full name; name it by the student's id."
    assert roster.find("Wei Li").doubt == doubt
    both = Roster([Person(id="vera"), Person(id="b", name="Vera")])
    assert both.find("vera").doubt == "it could be from `vera` by id or `b` by full name; name it by the student's id."


def test_a_number_of_the_course_page_tells_namesakes_apart(roster: Roster) -> None:
    assert roster.find(Label("liwei", named=True, canvas="82")) == Match(("li2",), "by canvas_id")
    assert roster.find(Label("liwei", named=True, canvas="999")).doubt == (
        "it is named like `li1`, whose canvas_id is 81 and not 999."
    )
    assert roster.find(Label("Participant", named=True, moodle="501")) == Match(("petrova",), "by moodle_id")


@pytest.mark.parametrize("key", ["garciamarquezgabriel", "marquezgabrielgarcia", "gabrielgarciamarquez"])
def test_canvas_joins_words_and_a_person_may_have_two_surnames(roster: Roster, key: str) -> None:
    assert roster.find(Label(key, named=True)) == Match(("gabo",), "by full name")


def test_names_that_are_the_same_when_joined_are_nobodys() -> None:
    roster = Roster([Person(id="a", name="Anna Bellee"), Person(id="b", name="Annabel Lee")])
    assert roster.find("annabellee").doubt.startswith("it could be from `a` by full name or `b` by full name")
    assert roster.find("Annabel Lee").students == ("b",)


def test_a_team_is_each_of_its_members(roster: Roster) -> None:
    assert roster.find("hw1-rockets") == Match(("emilie", "li2"), "by team")
    pair = Label("", several=(Label("Anna Petrova", named=True), Label("?", sid="gabo")))
    assert roster.find(pair) == Match(("anna", "gabo"), "as a team")
    stranger = Label("", several=(Label("Anna Petrova", named=True), Label("Zoe Zoo", named=True)))
    assert roster.find(stranger).doubt.startswith("no student of the course is called 'zoe zoo'")
