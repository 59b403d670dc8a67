"""The page on deployments, as somebody types it: a server, a work pool, a worker, two runs."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack

import kubernetes_validate
import pytest
import yaml

from tests.flows.typed_pages import DEPLOYMENTS, type_deployments
from tests.minio.process import Unavailable
from tests.servers.postgres import running_postgres
from tools.doc_blocks import blocks

KUBERNETES, COMPOSE = blocks(DEPLOYMENTS, "yaml")
# Of the versions of Kubernetes that are maintained, the first and the newest that the schemas have.
VERSIONS = ("1.33", "1.37")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.xdist_group("prefect")
def test_a_deployment_is_started_from_the_shell_and_from_a_program(s3_server, s3_url, tmp_path):
    type_deployments(tmp_path, s3_url, s3_server.environment())


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.xdist_group("prefect")
def test_so_it_is_where_prefects_server_has_the_database_of_the_compose_file(s3_server, s3_url, tmp_path):
    """Its service `server`, with its environment, beside a PostgreSQL and a MinIO outside of containers."""
    ((name, url),) = yaml.safe_load(COMPOSE)["services"]["server"]["environment"].items()
    with ExitStack() as stack:
        try:
            database = stack.enter_context(running_postgres())
        except Unavailable as error:
            pytest.skip(str(error))
        url = url.replace("${DATABASE_PASSWORD}", database.password)
        url = url.replace("@database:5432", f"@127.0.0.1:{database.port}")
        type_deployments(tmp_path, s3_url, {**s3_server.environment(), name: url})
        (runs,) = database.ask("SELECT count(*) FROM flow_run WHERE state_type = 'COMPLETED'")
        assert runs["count"] == 2


@pytest.mark.parametrize("version", VERSIONS)
def test_the_manifests_are_what_the_schemas_of_kubernetes_allow(version):
    documents = list(yaml.safe_load_all(KUBERNETES))
    assert [one["kind"] for one in documents] == ["Secret", "Deployment"]
    for one in documents:
        kubernetes_validate.validate(one, version, strict=True)


def _without_selector(deployment):
    del deployment["spec"]["selector"]


WRONG = {
    "a field that is none": lambda one: one["spec"].update(replica=4),
    "a number of the wrong kind": lambda one: one["spec"].update(replicas="four"),
    "a field at the wrong place": lambda one: one["spec"].update(containers=[]),
    "a word of another version": lambda one: one.update(apiVersion="extensions/v1beta1"),
    "nothing that selects": _without_selector,
    "a variable that is a number": lambda one: _container(one)["env"][0].update(value=60),
    "a grant of nothing": lambda one: _container(one).update(resource={}),
}


def _container(deployment):
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return container


@pytest.mark.parametrize("slip", WRONG)
def test_the_schemas_see_slips(slip):
    _, deployment = yaml.safe_load_all(KUBERNETES)
    WRONG[slip](deployment)
    with pytest.raises((kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError)):
        kubernetes_validate.validate(deployment, VERSIONS[-1], strict=True)


def test_the_files_for_kubernetes_and_compose_are_whole(tmp_path):
    secret, deployment = yaml.safe_load_all(KUBERNETES)
    spec = deployment["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    (container,) = spec["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": secret["metadata"]["name"]}}]
    assert {type(value) for one in container["env"] for value in one.values()} == {str}
    path = tmp_path / "compose.yml"
    path.write_text(COMPOSE)
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    services = yaml.safe_load(COMPOSE)["services"]
    assert set(services["server"]["depends_on"]) < set(services)
