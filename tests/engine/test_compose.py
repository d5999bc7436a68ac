"""Compose 1.29, unchanged: a project of two services, from up to down."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.engines import Daemon

pytestmark = pytest.mark.skipif(shutil.which("docker-compose") is None, reason="Compose is not installed")

PROJECT = """
version: "2.4"
services:
  web:
    image: busybox
    command: sh -c "mkdir /www; echo hello >/www/index.html; exec busybox httpd -f -p 80 -h /www"
    networks: [front]
    ports: ["127.0.0.1::80"]
    volumes: ["data:/data"]
    environment: {WORD: "said"}
    labels: {some: label}
    stop_signal: SIGKILL
    healthcheck:
      test: ["CMD", "wget", "-q", "-O-", "http://127.0.0.1/"]
      interval: 200ms
      retries: 50
  client:
    image: busybox
    command: wget -q -O- http://web/
    depends_on:
      web: {condition: service_healthy}
    networks:
      front: {aliases: [other]}
    mem_limit: 64m
networks: {front: {}}
volumes: {data: {}}
"""
Compose = Callable[..., str]


@pytest.fixture
def compose(engine: Daemon, tmp_path: Path) -> Compose:
    """Runs docker-compose in the project `shop` and gives what it prints on stdout."""
    (tmp_path / "docker-compose.yml").write_text(PROJECT)
    env = {**os.environ, "DOCKER_HOST": f"unix://{engine.socket}", "COMPOSE_PROJECT_NAME": "shop"}

    def run(*args: str) -> str:
        done = subprocess.run(
            ["docker-compose", *args], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=25
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_a_project_comes_up_in_the_order_of_its_conditions_and_goes_without_a_trace(
    compose: Compose, engine: Daemon
) -> None:
    compose("up", "-d")
    assert "hello" in compose("logs", "--no-color", "client")
    address, _, port = compose("port", "web", "80").strip().rpartition(":")
    with engine.net.connect((address, int(port))) as peer:
        peer.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert peer.makefile("rb").read().endswith(b"hello\n")
    assert compose("exec", "-T", "web", "sh", "-c", "echo $WORD") == "said\n"
    assert "healthy" in compose("ps")
    compose("down", "-v")
    assert engine.docker.out("ps", "-aq") == ""
    assert "shop" not in engine.docker.out("network", "ls") + engine.docker.out("volume", "ls")


def test_a_service_is_built_from_its_directory(compose: Compose, engine: Daemon, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox AS base\nARG WORD\nRUN echo $WORD >/word\nFROM base AS wanted\nCOPY f /f\n"
        "CMD cat /word /f\nFROM scratch\n"
    )
    (tmp_path / "f").write_text("of the context\n")
    build = "{context: ., target: wanted, args: {WORD: given}, labels: {l: x}}"
    (tmp_path / "docker-compose.yml").write_text(
        f'version: "2.4"\nservices: {{one: {{build: {build}, image: "one:1"}}}}\n'
    )
    assert "Successfully tagged one:1" in compose("up", "-d", "--build")
    assert engine.docker.out("wait", "shop_one_1") == "0"
    assert engine.docker.out("logs", "shop_one_1") == "given\nof the context"
    assert engine.docker.inspect("one:1")["Config"]["Labels"]["l"] == "x"
    compose("down", "--rmi", "all")
    assert engine.docker.out("images", "--quiet", "one") == ""
    engine.http.ok("POST", "/build/prune?all=1")


def test_a_service_is_run_once_beside_the_project(compose: Compose) -> None:
    compose("up", "-d", "web")
    assert compose("run", "--rm", "-T", "client", "sh", "-c", "echo $HOSTNAME | wc -c; wget -qO- web") == (
        "13\nhello\n"
    )
    compose("down", "-v")


def test_a_changed_service_is_made_again_and_an_unchanged_one_stays(
    compose: Compose, engine: Daemon, tmp_path: Path
) -> None:
    compose("up", "-d", "web")
    before = compose("ps", "-q", "web")
    compose("up", "-d", "web")
    assert compose("ps", "-q", "web") == before
    (tmp_path / "docker-compose.yml").write_text(PROJECT.replace("said", "changed"))
    compose("up", "-d", "web")
    assert compose("ps", "-q", "web") != before
    assert compose("exec", "-T", "web", "sh", "-c", "echo $WORD") == "changed\n"
    compose("down", "-v")
