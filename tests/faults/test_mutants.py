"""Tests of the tests: each of the broken variants in mutants.py turns the tests red that should notice."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.faults.mutants import MUTANTS

pytestmark = [pytest.mark.slow, pytest.mark.real_s3]

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BACKENDS, PROMISES, BLOCKS = (
    "tests/io/test_backends.py",
    "tests/test_target_contract.py",
    "tests/io/test_block_digests.py",
)

# A few of the tests that should notice; all of them have to.
NOTICED_BY = {
    "plain_open": [
        f"{BACKENDS}::TestLocal::test_an_exception_leaves_nothing",
        f"{BACKENDS}::TestS3::test_an_exception_leaves_the_old_object",
        f"{PROMISES}::test_an_iterator_that_raises_leaves_nothing[csv]",
    ],
    "no_hash_check": [
        f"{BACKENDS}::TestMemory::test_damage_is_noticed_and_repaired[tex]",
        "tests/faults/test_corruption_at_rest.py::test_every_damage_is_caught[memory-npy]",
        "tests/faults/test_corruption_at_rest.py::test_damage_at_rest[csv-memory]",
    ],
    "no_block_check": [
        f"{BLOCKS}::test_a_flipped_byte_is_noticed_in_its_block_only",
        f"{BLOCKS}::test_digests_that_are_gone_or_damaged_are_not_believed",
        "tests/faults/test_corruption_at_rest.py::test_damage_in_parts[npy]",
    ],
    "size_only": [
        f"{BACKENDS}::TestLocal::test_damage_is_noticed_and_repaired[Text]",
        f"{BACKENDS}::TestS3::test_damage_is_noticed_and_repaired[Text]",
    ],
    "cached_listing": [
        f"{BACKENDS}::TestMemory::test_nothing_is_visible_before_the_end",
        f"{BACKENDS}::TestS3::test_versions_change_with_the_object",
        f"{BACKENDS}::TestLocal::test_versions_change_with_the_object",
    ],
    "importing_decoder": [
        "tests/faults/test_untrusted_records.py::test_a_module_that_could_be_imported_is_not",
    ],
    "trusting_records": [
        "tests/faults/test_untrusted_records.py::test_sixty_places_are_refused",
        "tests/faults/test_untrusted_records.py::test_no_name_escapes",
    ],
    "no_memory_limit": [
        "tests/faults/test_decompression_bombs.py::test_a_limit_of_ones_own",
    ],
    "chatty_errors": [
        "tests/flows/test_secrets.py::test_nothing_of_the_clients_error_hangs_on_ours",
    ],
    "no_abort": [
        f"{BACKENDS}::TestLocal::test_an_exception_leaves_nothing[ValueError-{9 << 20}]",
        f"{BACKENDS}::TestS3::test_an_exception_leaves_nothing[ValueError-{30 << 20}]",
    ],
}


def run(tests: list[str], mutant: str = "") -> dict[str, str]:
    """How each test ended in a pytest of its own, against the same server."""
    environment = {name: value for name, value in os.environ.items() if name != "CPR_TEST_S3"}
    environment.update(CPR_MUTANT=mutant, CPR_TEST_S3_ENDPOINT=os.environ["AWS_ENDPOINT_URL"])
    command = [sys.executable, "-m", "pytest", "-p", "tests.faults.mutants", "-p", "no:cacheprovider"]
    command += ["-p", "no:xdist", "-v", "--tb=no", "-rN", *tests]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    found = re.findall(r"^(tests/\S+::.*?) (PASSED|FAILED|ERROR|SKIPPED)", done.stdout, re.MULTILINE)
    assert found, done.stdout + done.stderr
    ends: dict[str, str] = {}
    for name, end in found:
        if ends.get(name, "PASSED") == "PASSED":
            ends[name] = end
    return ends


def test_each_variant_has_its_tests():
    assert set(NOTICED_BY) == set(MUTANTS)
    assert len(MUTANTS) >= 6


def test_they_pass_without():
    ends = run(sorted({test for tests in NOTICED_BY.values() for test in tests}))
    assert [name for name, end in ends.items() if end != "PASSED"] == []


@pytest.mark.parametrize("mutant", MUTANTS)
def test_they_notice(mutant):
    ends = run(NOTICED_BY[mutant], mutant)
    for test in NOTICED_BY[mutant]:
        assert any(end in ("FAILED", "ERROR") for name, end in ends.items() if name.startswith(test)), ends
