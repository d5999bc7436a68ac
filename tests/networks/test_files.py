"""hosts, hostname and resolv.conf."""

import pytest

from lighterman.networks.files import Resolver, hostname_file, hosts_file, parse_resolv_conf, resolv_conf

HOST = "# made by hand\nsearch example.org\nnameserver 127.0.0.53\nnameserver 192.0.2.53\noptions edns0\n"


def test_hosts_has_the_fixed_lines_the_extra_ones_and_its_own() -> None:
    text = hosts_file("web", "example.org", ["172.17.0.2"], [("db", "10.0.0.9")])
    assert text.splitlines()[0] == "127.0.0.1\tlocalhost"
    assert text.endswith("10.0.0.9\tdb\n172.17.0.2\tweb.example.org web\n")


def test_a_bare_name_stands_alone_and_a_full_one_is_cut() -> None:
    assert hosts_file("web", "", ["172.17.0.2"]).endswith("172.17.0.2\tweb\n")
    assert hosts_file("web.lan", "", ["172.17.0.2"]).endswith("172.17.0.2\tweb.lan web\n")


def test_on_the_hosts_network_the_hosts_file_goes_before() -> None:
    assert hosts_file("web", "", [], [("db", "10.0.0.9")], host_text="127.0.0.1 me") == (
        "127.0.0.1 me\n10.0.0.9\tdb\n"
    )


@pytest.mark.parametrize(
    ("wish", "text"),
    [
        (([], [], []), "# made by hand\nsearch example.org\nnameserver 192.0.2.53\noptions edns0\n"),
        ((["9.9.9.9"], [], []), "search example.org\nnameserver 9.9.9.9\noptions edns0\n"),
        (([], ["."], []), "nameserver 192.0.2.53\noptions edns0\n"),
        (([], ["a", "b"], ["ndots:2"]), "search a b\nnameserver 192.0.2.53\noptions ndots:2\n"),
    ],
)
def test_the_hosts_resolver_is_filtered_and_overridden(wish: tuple[list[str], ...], text: str) -> None:
    dns, search, options = wish
    assert resolv_conf(HOST, dns=dns, search=search, options=options) == text


def test_without_a_reachable_server_the_public_ones_serve() -> None:
    assert resolv_conf("nameserver ::1\nnameserver 127.0.0.1\n") == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"


def test_without_a_wish_all_else_that_the_host_says_is_kept() -> None:
    text = "nameserver 127.0.0.1\n#nameserver 127.0.2.1\nsortlist 10.0.0.0\nnameserver ::1"
    public = "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"
    assert resolv_conf(text) == f"#nameserver 127.0.2.1\nsortlist 10.0.0.0\n\n{public}"
    assert resolv_conf(f"{text}\nnameserver 9.9.9.9\n").endswith("sortlist 10.0.0.0\nnameserver 9.9.9.9\n")


def test_on_the_hosts_network_nothing_is_filtered() -> None:
    assert resolv_conf(HOST, on_host=True) == HOST
    assert "nameserver 127.0.0.53\n" in resolv_conf(HOST, on_host=True, options=["rotate"])


def test_the_last_search_counts_and_nonsense_is_left_out() -> None:
    text = "domain a\nsearch b c\nnameserver\nsortlist x\noptions a\noptions b\n"
    assert parse_resolv_conf(text) == Resolver((), ("b", "c"), ("a", "b"))


def test_hostname_is_one_line() -> None:
    assert hostname_file("web") == "web\n"
