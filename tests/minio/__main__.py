"""`make minio` and `make minio-down`: the containers of docker-compose.yml, up or down.

python -m tests.minio up|down
"""

from __future__ import annotations

import os
import sys

from tests.minio import buckets
from tests.minio.compose import EngineError, find_engine
from tests.minio.process import poll
from tests.minio.server import REGION

PROJECT = "cpr"


def main(arguments: list[str]) -> int:
    """Run the one argument, up or down; the exit code."""
    engine = find_engine()
    if isinstance(engine, str):
        print(f"No container engine: {engine}. Install docker with its compose plugin, or podman and runc.")
        return 1
    try:
        if arguments == ["up"]:
            engine.up(PROJECT, {}, timeout=600)
            up()
        elif arguments == ["down"]:
            engine.down(PROJECT)
        else:
            print(__doc__)
            return 2
    except EngineError as error:
        print(f"{error}\nWhere images cannot be pulled, `make images` builds them.")
        return 1
    except buckets.Failure as error:
        print(f"{engine.name} started it, but it does not answer: {error}\n{engine.logs(PROJECT)}")
        return 1
    return 0


def up() -> None:
    """Wait for the bucket and print how to reach it."""
    setting = os.environ.get
    host, port = setting("CPR_MINIO_ADDRESS", "127.0.0.1"), setting("CPR_MINIO_PORT", "9010")
    endpoint = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
    user, password = setting("CPR_MINIO_USER", "minioadmin"), setting("CPR_MINIO_PASSWORD", "minioadmin")
    bucket = setting("CPR_MINIO_BUCKET", "cpr")
    client = buckets.make_client(endpoint, user, password, REGION, None)
    poll(lambda: client.head_bucket(Bucket=bucket), seconds=60)
    console = setting("CPR_MINIO_CONSOLE_PORT", "9011")
    print(f"MinIO is at {endpoint} with the bucket {bucket}; console http://{host}:{console}\n")
    print(f"export AWS_ENDPOINT_URL={endpoint} AWS_REGION={REGION}")
    print(f"export AWS_ACCESS_KEY_ID={user} AWS_SECRET_ACCESS_KEY={password}")
    print(f"export CPR_TEST_S3_ENDPOINT={endpoint}   # for the tests and the demo")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
