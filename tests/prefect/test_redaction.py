"""What a record tells of arguments holds nothing that may be a secret, however it came there."""

from __future__ import annotations

import os
import pathlib
import re

import pytest

import cpr
from cpr.prefect.prefect_internals import source_of
from cpr.prefect.redaction import describe_input, is_secret_name, program_texts
from cpr.prefect.source_code import unwrapped
from cpr.prefect.used_code import RunDescription

TOKEN = "gh" + "p_" + "0aB1cD2eF3" * 4
SECRETS = [
    "postgres://bob:hunter2@db.lab/plates",
    "mysql+pymysql://bob:hunter2@db.lab",
    "bob:hunter2@db.lab",
    "https://store.lab/a.tif?token=abcd",
    "https://store.lab/a.tif#access_token=abcd",
    "host=db.lab;user=bob;password=hunter2",
    "Server=db; PWD = hunter2",
    '{"api_key": "abcd"}',
    "Authorization: Bearer abcd",
    f"Bearer {TOKEN}",
    TOKEN,
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_text_with_a_secret_is_not_told_though_the_program_spells_it(text):
    told = describe_input("where", text, "0" * 16, texts=frozenset({text}))
    assert told.to_json() == "str 0000000000000000"
    assert "hunter2" not in str(describe_input("where", pathlib.PurePosixPath(text), "0" * 16).to_json())


@pytest.mark.parametrize(
    "text", ["otsu", "C: first", "2026-11-29T10:00:00", "well=B03", "a/b.tif", "DAPI (405)"]
)
def test_other_texts_are(text):
    assert describe_input("method", text, "0" * 16, texts=frozenset({text})).to_json() == f"str={text}"


@pytest.mark.parametrize(
    "name",
    "apikey APIKEY api_key accesstoken mypassword dbpassword secretkey authtoken bearer sessionid csrftoken"
    " PASSWORD1 privatekey sshkey userpwd pw passcode accesskey connstr hmackey pincode oauth cookies"
    " licensekey labels.apikey".split(),
)
def test_names_of_secrets_as_people_write_them(name):
    assert is_secret_name(name)
    assert describe_input(name, 1234, "0" * 16).to_json() == "secret"


@pytest.mark.parametrize("name", "sigma tokenizer keyhole passes coder monkeys author compass signal".split())
def test_other_names_are_none(name):
    assert not is_secret_name(name)


@cpr.task
def measured(
    image: str, place: str = os.environ.get("CPR_NOWHERE", "EGATS-KCAB"[::-1]), method: str = "otsu"
) -> str:
    return f"{image} {place} {method}"


def test_a_default_of_the_machine_is_none_that_the_program_spells():
    texts = program_texts(unwrapped(measured.fn), source_of(measured))
    assert "otsu" in texts
    assert "BACK-STAGE" not in texts
    assert "BACK-STAGE" in unwrapped(measured.fn).__defaults__
    # Of a function without a text nobody knows what it spells.
    assert "otsu" not in program_texts(unwrapped(measured.fn), None)


def test_a_task_tells_the_default_by_its_digest():
    told = RunDescription(measured, ())
    for name, value in {"place": "BACK-STAGE", "method": "otsu"}.items():
        told.describe(name, value, False)
    assert told.inputs["method"].to_json() == "str=otsu"
    assert re.fullmatch("str [0-9a-f]{16}", told.inputs["place"].to_json())
