"""The page on deployments, as somebody types it: a server, a work pool, a worker, two runs."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from tests.flows.typed_pages import DEPLOYMENTS, type_deployments
from tools.doc_blocks import blocks


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.xdist_group("prefect")
def test_a_deployment_is_started_from_the_shell_and_from_a_program(s3_server, s3_url, tmp_path):
    type_deployments(tmp_path, s3_url, s3_server.environment())


def test_the_files_for_kubernetes_and_compose_are_whole(tmp_path):
    kubernetes, compose = blocks(DEPLOYMENTS, "yaml")
    secret, deployment = yaml.safe_load_all(kubernetes)
    spec = deployment["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    (container,) = spec["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": secret["metadata"]["name"]}}]
    assert {type(value) for one in container["env"] for value in one.values()} == {str}
    path = tmp_path / "compose.yml"
    path.write_text(compose)
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    services = yaml.safe_load(compose)["services"]
    assert set(services["server"]["depends_on"]) < set(services)
