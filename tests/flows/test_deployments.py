"""The page on deployments, as somebody types it: a server, a work pool, a worker, two runs."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import yaml

from tests.flows.typed_pages import type_in
from tests.minio.process import free_ports
from tests.test_examples import blocks, fill_raw

PAGE = "docs/deployments.md"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.xdist_group("prefect")
def test_a_deployment_is_started_from_the_shell_and_from_a_program(s3_server, s3_url, tmp_path):
    fill_raw(s3_url)
    (port,) = map(str, free_ports(1))
    (tmp_path / "segment.py").write_text(*blocks(PAGE, "python"))
    typed = "".join(blocks(PAGE, "shell"))
    for written, place in {"4200": port, "s3://cpr": s3_url}.items():
        assert written in typed
        typed = typed.replace(written, place)
    printed = type_in(tmp_path, f"{typed}\nkill %1 %2", s3_server.environment())
    log = "".join((tmp_path / f"{name}.log").read_text() for name in ("errors", "server", "worker"))
    assert "Completed" in printed
    assert re.search(rf"^{s3_url}/results/one-mask-\w{{16}}\.tif \(40, 50\)$", printed, re.MULTILINE)
    assert log.count("Finished in state Cached") == 1, log


def test_the_files_for_kubernetes_and_compose_are_whole(tmp_path):
    kubernetes, compose = blocks(PAGE, "yaml")
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
