import subprocess
import sys

import pytest
import yaml

from tests.minio import compose


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load(compose.FILE.read_text())["services"]


def test_the_file_keeps_the_compose_specification():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(compose.FILE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_images_are_pinned_and_are_those_the_ladder_looks_for(services):
    assert services["minio"]["image"] == compose.MINIO_IMAGE
    assert services["bucket"]["image"] == compose.MC_IMAGE
    assert services["gcs"]["image"] == compose.GCS_IMAGE
    for service in services.values():
        assert service["image"].rpartition(":")[2] not in {"", "latest"}


def test_ports_are_open_to_this_machine_only_and_never_9000(services):
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert len(published) == 3
    for port in published:
        assert port.startswith("${CPR_MINIO_ADDRESS:-127.0.0.1}:")
        assert ":-9000}" not in port


def test_minio_is_health_checked_and_its_bucket_waits_for_that(services):
    assert services["minio"]["healthcheck"]["test"] == ["CMD", "mc", "ready", "local"]
    assert services["bucket"]["depends_on"] == {"minio": {"condition": "service_healthy"}}
    assert services["bucket"]["restart"] == "on-failure"


def test_the_gcs_emulator_starts_only_when_asked_for(services):
    assert [name for name, service in services.items() if "profiles" in service] == ["gcs"]


def test_no_engine_is_a_reason_to_read(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compose.find_engine() == "no docker, no podman"
