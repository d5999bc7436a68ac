"""The command line answers a mistype at once, and takes flags as dockerd does."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lighterman.__main__ import main


def lighterman(*argv: str) -> Result:
    return CliRunner().invoke(main, argv)


@pytest.fixture
def blank(tmp_path: Path) -> str:
    path = tmp_path / "daemon.json"
    path.write_text("{}")
    return f"--config-file={path}"


@pytest.mark.parametrize(
    "flags",
    [
        ["-H", "unix:///run/a.sock", "-H", "tcp://127.0.0.1:2375", "-D"],
        ["--icc=false", "--ip-masq", "--debug"],
        ["--log-opt", "max-size=10m", "--log-opt", "max-file=3"],
        ["--default-address-pool", "base=10.10.0.0/16,size=24", "--add-runtime", "kata=/usr/bin/kata"],
        ["--default-network-opt", "bridge=com.docker.network.driver.mtu=1400", "--default-stop-timeout=0"],
        ["--storage-driver=overlay2", "--live-restore", "--exec-opt", "native.cgroupdriver=cgroupfs"],
        ["-H=unix:///run/a.sock", "-D=true", "-l=warn"],
        ["-b", "lighter0", "--bip", "10.0.0.1/24", "--mtu", "1400", "-l", "warn"],
    ],
    ids=" ".join,
)
def test_flags_of_dockerd_are_taken(flags: Sequence[str], blank: str) -> None:
    result = lighterman("daemon", blank, "--validate", *flags)
    assert (result.exit_code, result.output) == (0, "configuration OK\n")


@pytest.mark.parametrize(
    ("argv", "status", "text"),
    [
        (["deamon"], 2, "No such command 'deamon'. Did you mean 'daemon'?"),
        (["daemon", "--hots"], 2, "No such option '--hots'"),
        (["daemon", "extra"], 2, "Got unexpected extra argument (extra)"),
        (["daemon", "--mtu", "big"], 2, "Invalid value for '--mtu': 'big' is not a valid integer."),
        (["daemon", "--bip6", "x"], 2, "the option bip6 cannot be used: fixed-cidr-v6 and"),
        (["daemon", "--default-network-opt", "bridge=x"], 2, "invalid value 'x' for --default-network-opt"),
        (
            ["daemon", "--containerd-plugins-namespace", "x"],
            2,
            "the option containerd-plugin-namespace cannot",
        ),
        (["daemon", "--default-ulimit", "core=x"], 2, "invalid value 'x' for --default-ulimit"),
        (["daemon", "--feature", "buildkit=2"], 2, "invalid value '2' for --feature: expected true or false"),
        (
            ["daemon", "--cdi-spec-dir", "x"],
            2,
            "the option cdi-spec-dirs cannot be used",
        ),
        (["daemon", "--live-restore=false"], 2, "live-restore: false cannot be used (only true)"),
        (
            ["daemon", "--exec-opt", "native.cgroupdriver=systemd"],
            2,
            "cannot be used (only [native.cgr",
        ),
        (["daemon", "--log-opt", "big"], 2, "invalid value 'big' for --log-opt: expected name=value"),
        (["daemon", "--default-address-pool", "10.0.0.0/8"], 2, "expected base=CIDR,size=N"),
        (["daemon", "--config-file", "/nonexistent"], 1, "with file /nonexistent: No such file or directory"),
    ],
)
def test_a_mistype_is_told_in_one_line(argv: Sequence[str], status: int, text: str) -> None:
    result = lighterman(*argv, "--validate")  # an option that acts one day starts no engine here
    assert result.exit_code == status
    assert text in result.output


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["-H", "ftp://x"], "Error: invalid bind address (ftp://x): unsupported proto 'ftp'\n"),
        (["--log-level", "loud"], "Error: invalid logging level: loud\n"),
    ],
)
def test_validate_finds_what_a_start_would_refuse(flags: Sequence[str], text: str, blank: str) -> None:
    result = lighterman("daemon", blank, "--validate", *flags)
    assert (result.exit_code, result.output) == (1, text)


def test_a_flag_that_is_in_the_file_too_is_a_conflict(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    path.write_text('{"debug": true}')
    result = lighterman("daemon", "--config-file", str(path), "--validate", "--debug")
    assert result.exit_code == 1
    assert "debug: (from flag: true, from file: true)" in result.output


def test_the_version_is_told() -> None:
    assert lighterman("version").output.startswith("Lighterman ")


def test_no_certificates_are_loaded_for_nobody(blank: str) -> None:
    """aiohttp would, as it is imported; what the environment says holds again afterwards."""
    starts = (
        "import gc, os, ssl\n"
        "from lighterman.__main__ import main\n"
        f"main(['daemon', '--validate', '{blank}'], standalone_mode=False)\n"
        "import aiohttp\n"
        "made = [each for each in gc.get_objects() if isinstance(each, ssl.SSLContext)]\n"
        "print(len(made), sum(each.cert_store_stats()['x509'] for each in made), os.environ['SSL_CERT_FILE'])"
    )
    env = {**os.environ, "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt"}
    done = subprocess.run(
        [sys.executable, "-c", starts], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == f"configuration OK\n2 0 {env['SSL_CERT_FILE']}\n"
