"""The tests of ackc that do not apply to ackc.exe in wine, each with the reason.

They run with ACKD_ACKC="tests/cross/wine .../ackc.exe". All others must pass.
"""

import re

import pytest

REASONS = {
    "no UNIX sockets in Windows":
        r"unix_socket|plugin_escapes_a_bar|\[unix:-|ackd_on_a_unix",
    "ackc.exe gets no terminal from this test":
        r"terminal|progress_is_shown",
    "no limit of descriptors, and no closed ones, in Windows":
        r"descriptor|too_many_open_files|closed_output|closed_input",
    "no namespace: the server of wine opens the sockets":
        r"look_up|local_ports|retransmissions|name_server|hosts",
    "the signal does not exist in Windows":
        r"sigquit|sigpipe|ends_ackc\[15\]|missing_reader_ends_ackc\[|with_its_reader"
        r"|interrupt_while_(connecting|reading|looking)",
    "an argument is text in Windows, not bytes":
        r"invalid_host_name",
    "the server of wine takes the error of a reset, so that a later read reports an end":
        r"reset_after_the_last_bytes|network_failures\[reset in mid"
        r"|load_classifies_network_failures\[reset\]",
    "wine discards what arrived before a reset":
        r"refused_client_certificate",
    "no /dev/fd in Windows, and wine opens that of its server":
        r"files_may_be_pipes",
    "Windows does not report what the peer has acknowledged":
        r"acknowledge",
    "the system has other words for it":
        r"\[--tls --ca \. h|host_without_address_of_the_family",
}


def skip(items):
    """Marks the tests that do not apply."""
    for item in items:
        for reason, pattern in REASONS.items():
            if re.search(pattern, item.name):
                item.add_marker(pytest.mark.skip(reason=reason))
                break
