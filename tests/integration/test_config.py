"""Invalid configurations: each mistake is reported with its place."""

import os
import pwd
import re
import shutil
import subprocess

import pytest

from harness import ackd_binary, environment, run_ackd


def check(path):
    return run_ackd("-t", "-c", path)


def errors_of(path):
    """Returns the lines of stderr for a configuration that must be rejected."""
    done = check(path)
    assert done.returncode == 78, done
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines
    return lines


# (mistake, configuration, line, setting, further text of the message)
MISTAKES = [
    ("unknown setting", 'port = 1;\ncolour = "red";', 2, "colour", ["unknown|no such|not exist"]),
    ("unknown in a group", "limits = { max_lin = 5; };", 1, "limits.max_lin", []),
    ("unknown in a listener", 'listeners = ( { name = "a";\n prot = 7; } );', 2, "prot", []),
    ("unknown group", "limit = { max_line = 5; };", 1, "limit", []),
    ("daemon's in a listener", 'listeners = ( { name = "a";\n workers = 7; } );', 2, "workers", []),
    ("string for a number", '\n\nport = "eighty";', 3, "port", ["eighty", "0.*65535"]),
    ("number for a string", "reply = 5;", 1, "reply", ["5", "ack"]),
    ("boolean for a number", "workers = true;", 1, "workers", ["true", "1024"]),
    ("number for a boolean", "nak = 1;", 1, "nak", ["1", "true.*false|bool"]),
    ("float for an integer", "port = 80.5;", 1, "port", ["80.5"]),
    ("group for a number", "port = { a = 1; };", 1, "port", ["group"]),
    ("number for a group", "limits = 5;", 1, "limits", ["5", "group"]),
    ("group for the list", "listeners = { };", 1, "listeners", ["list"]),
    ("number in the list", "listeners = ( 5 );", 1, "listeners[0]", ["group"]),
    ("empty list", "listeners = ( );", 1, "listeners", []),
    ("port too large", "port = 65536;", 1, "port", ["65536", "65535"]),
    ("port negative", "port = -1;", 1, "port", ["-1", "65535"]),
    ("workers too many", "workers = 1025;", 1, "workers", ["1025", "1024"]),
    ("backlog 0", "backlog = 0;", 1, "backlog", ["0", "1.*65535"]),
    ("max_message 0", "limits = { max_message = 0; };", 1, "limits.max_message", ["0", "1"]),
    ("max_line 0", "limits = { max_line = 0; };", 1, "limits.max_line", ["0", "1"]),
    ("max_line too large", 'limits = {\nmax_line = "17MiB"; };', 2, "limits.max_line", ["17MiB"]),
    ("no connection", "limits = { max_connections = 0; };", 1, "limits.max_connections", ["0"]),
    ("negative time", "limits = { idle_timeout = -1; };", 1, "limits.idle_timeout", ["-1"]),
    ("no such unit", 'limits = { idle_timeout = "5 parsecs"; };', 1, "limits.idle_timeout", ["parsecs"]),
    ("a size for a time", 'limits = { drain_timeout = "5KiB"; };', 1, "limits.drain_timeout", ["5KiB"]),
    ("a time for a size", 'limits = { max_memory = "5s"; };', 1, "limits.max_memory", ["5s"]),
    ("word that is none", 'reply = "shout";', 1, "reply", ["shout", "ack.*echo.*discard"]),
    ("framing", 'framing = "lines";', 1, "framing", ["lines", "stream.*line"]),
    ("errors", 'encoding = { errors = "strikt"; };', 1, "encoding.errors", ["strikt", "strict"]),
    (
        "xmlcharrefreplace to decode",
        'encoding = { errors = "xmlcharrefreplace"; };',
        1,
        "encoding.errors",
        ["xmlcharrefreplace", "reply_errors"],
    ),
    (
        "charset",
        'encoding = { reply_charset = "latin9"; };',
        1,
        "encoding.reply_charset",
        ["latin9", "utf-8.*ascii.*iso-8859-1.*windows-1252"],
    ),
    ("log level", 'log = { level = "loud"; };', 1, "log.level", ["loud", "error.*debug"]),
    ("log target", 'log = { target = "file"; };', 1, "log.target", ["file", "auto.*journal.*stderr"]),
    ("bad mode", 'mode = "0999";', 1, "mode", ["0999"]),
    ("mode of 5 digits", 'mode = "017777";', 1, "mode", ["017777"]),
    ("mode as a number", "mode = 660;", 1, "mode", ["660"]),
    ("path too long", 'path = "/%s";' % ("x" * 200), 1, "path", ["107"]),
    ("empty path", 'path = "";', 1, "path", []),
    ("empty address", 'address = "";', 1, "address", []),
    ("name with a space", 'name = "a b";', 1, "name", ["a b"]),
    ("name too long", 'name = "%s";' % ("n" * 65), 1, "name", ["64"]),
    ("CIDR: no address", 'allow = ["localhost"];', 1, "allow", ["localhost"]),
    ("CIDR: prefix too long", 'deny = ["10.0.0.0/33"];', 1, "deny", ["10.0.0.0/33"]),
    ("CIDR: IPv6 prefix", 'deny = ["2001:db8::/129"];', 1, "deny", ["2001:db8::/129"]),
    ("CIDR: a number", "allow = [10];", 1, "allow", ["10"]),
    ("CIDR: no array", 'allow = "10.0.0.0/8";', 1, "allow", ["array"]),
    ("template name", 'greeting = "${nobody}";', 1, "greeting", ["nobody"]),
    ("no meaning in a greeting", 'greeting = "${bytes}";', 1, "greeting", ["bytes"]),
    ("unfinished template", 'ack_prefix = "${message";', 1, "ack_prefix", []),
    ("lone dollar", 'ack_suffix = "5 $";', 1, "ack_suffix", []),
    ("template too long", 'greeting = "%s";' % ("x" * 1025), 1, "greeting", ["1024|1 KiB"]),
    (
        "unencodable greeting",
        'greeting = "Привет";\nencoding = { reply_charset = "iso-8859-1"; };',
        1,
        "greeting",
        [r"U\+041F", "reply_charset"],
    ),
    (
        "unencodable prefix",
        'encoding = { reply_charset = "ascii"; };\nack_prefix = "é";',
        2,
        "ack_prefix",
        [r"U\+00E9", "reply_charset"],
    ),
    ("bad UTF-8", b'\ngreeting = "caf\xe9";', 2, None, ["UTF-8"]),
    ("NUL in a string", '\ngreeting = "a\\x00b";', 2, "greeting", [r"NUL|\\x00"]),
    ("a NUL byte", b'greeting = "a";\nport = 1;\0', 2, None, ["NUL"]),
    ("name of a listener missing", "listeners = (\n{ port = 1; } );", 2, "name", []),
    (
        "duplicate listener",
        'listeners = ( { name = "a"; },\n{ name = "a"; port = 5; } );',
        2,
        "name",
        ['"a"'],
    ),
    ("duplicate setting", "port = 1;\nreply = \"ack\";\nport = 2;", 3, None, ["[Dd]uplicate|twice"]),
    ("syntax error", "port = 1;\nreply = ;\n", 2, None, ["syntax error"]),
    ("unterminated string", 'port = 1;\ngreeting = "abc\n', None, None, ["string|syntax"]),
    ("unterminated comment", "port = 1; /* never ends", None, None, ["comment|syntax"]),
    ("unterminated group", "limits = { max_line = 5;", None, None, ["syntax error"]),
    # integers that libconfig 1.5 misreads
    ("wraps to 7007", "\nport = 4294974303;", 2, "port", ["4294974303", "32 bits"]),
    ("wraps to -2147483648", "workers = 2147483648;", 1, "workers", ["2147483648", "32 bits"]),
    ("hexadecimal", "port = 0x1FFFFFFFF;", 1, "port", ["0x1FFFFFFFF", "32 bits"]),
    ("wraps to 0", "workers = 4294967296;", 1, "workers", ["4294967296", "32 bits"]),
    ("wraps to 1, negative", "backlog = -4294967295;", 1, "backlog", ["-4294967295"]),
    ("beyond 64 bits", "port = 18446744073709551617;", 1, "port", ["18446744073709551617"]),
    (
        "in a listener",
        'listeners = ( { name = "a"; port = 4294974303; } );',
        1,
        "port",
        ["4294974303"],
    ),
    (
        "a size beyond its type",
        'limits = { max_memory = "99999999999999999999GiB"; };',
        1,
        "limits.max_memory",
        [],
    ),
]


@pytest.mark.parametrize(
    "text, line, setting, words", [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES]
)
def test_mistake_is_reported_with_its_place(config_file, text, line, setting, words):
    path = config_file(text)
    lines = errors_of(path)
    assert len(lines) == 1, lines
    said = lines[0]
    place = path if line is None else f"{path}:{line}: "
    assert said.startswith(place), said
    if setting:
        assert re.search(rf"(^|[ .\]]){re.escape(setting)}:", said[len(place) - 1 :]), said
    for word in words:
        assert re.search(word, said[len(path) :]), f"no {word!r} in {said!r}"


def test_all_setting_errors_are_reported_together(config_file):
    path = config_file(
        'port = 70000;\nreply = "shout";\nlimits = {\n  max_line = 0;\n};\ncolour = 1;\n'
        'listeners = (\n  { name = "a"; backlog = 0; },\n  { name = "a"; deny = ["x"]; }\n);\n'
    )
    lines = errors_of(path)
    places = [tuple(line[len(path) :].split(":")[1:3]) for line in lines]
    found = {(int(number), setting.strip().split(".")[-1]) for number, setting in places}
    assert found >= {
        (1, "port"),
        (2, "reply"),
        (4, "max_line"),
        (6, "colour"),
        (8, "backlog"),
        (9, "name"),
        (9, "deny"),
    }
    assert len(lines) == len(set(lines))


def test_control_characters_of_a_file_are_escaped(config_file):
    path = config_file(b'reply = "\x1b[31mred\x07";\n')
    for line in errors_of(path):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", line), repr(line)


# ---- digits that are no integers ----


def test_large_numbers_in_strings_and_comments_are_ignored(config_file):
    done = check(
        config_file(
            "# port = 4294974303;\n// 99999999999999999999\n/* 4294974303\n4294974303 */\n"
            'greeting = "4294974303 and \\"99999999999999999999";\nport = 7007;\n'
        )
    )
    assert done.returncode == 0, done
    assert done.stderr == ""


def test_large_integer_in_an_include_is_reported(config_file):
    included = config_file("\n\nport = 4294974303;\n", "included.conf")
    path = config_file('workers = 1;\n@include "included.conf"\n')
    (said,) = errors_of(path)
    assert said.startswith(f"{included}:3: port: ") and "4294974303" in said


# ---- files ----


def test_missing_file_is_reported(directory):
    (said,) = errors_of(f"{directory}/none.conf")
    assert f"{directory}/none.conf" in said and "No such file" in said


def test_directory_instead_of_a_file_is_reported(directory):
    (said,) = errors_of(directory)
    assert directory in said and "directory" in said


def test_unreadable_file_is_reported(config_file, directory):
    path = config_file("port = 1;")
    os.chmod(path, 0)
    os.chmod(directory, 0o755)
    options = {}
    if os.geteuid() == 0:  # root can read every file
        nobody = pwd.getpwnam("nobody")
        options = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    binary = shutil.copy(ackd_binary(), directory)  # the build directory may be closed to others
    done = subprocess.run(
        [binary, "-t", "-c", path], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 78
    assert path in done.stderr and "Permission denied" in done.stderr


def test_error_in_an_included_file_is_reported(config_file):
    included = config_file('port = 1;\nreply = "shout";\n', "bad.conf")
    (said,) = errors_of(config_file('@include "bad.conf"\n'))
    assert said.startswith(f"{included}:2: reply: ")


def test_syntax_error_in_an_included_file_is_reported(config_file):
    included = config_file("port = 1;\nreply reply\n", "bad.conf")
    (said,) = errors_of(config_file('workers = 1;\n@include "bad.conf"\n'))
    assert said.startswith(f"{included}:2") and "syntax error" in said


def test_missing_included_file_is_reported(config_file):
    path = config_file('workers = 1;\n@include "none.conf"\n')
    (said,) = errors_of(path)
    assert said.startswith(f"{path}:2: ") and "none.conf" in said and "No such file" in said


def test_all_unreadable_included_files_are_reported(config_file, directory):
    """All are reported, with those other errors that they cannot cause."""
    inner = config_file('\n@include "none.conf"\n', "inner.conf")
    os.mkdir(f"{directory}/dir")
    path = config_file(
        '@include "none.conf"\n@include "inner.conf"\n@include "dir"\n'
        'listeners = (\n@include "list.conf"\n);\n'
    )
    said = errors_of(path)
    places = [f"{path}:1", f"{inner}:2", f"{path}:3", f"{path}:5"]
    assert [line.split(": ")[0] for line in said] == places
    assert all("@include: cannot read " in line for line in said)


def test_recursive_include_is_reported(config_file):
    said = errors_of(config_file('@include "ackd.conf"\n'))
    assert "nest" in said[0]


def test_include_is_relative_to_the_including_file(ackd, directory):
    os.mkdir(f"{directory}/sub")
    with open(f"{directory}/sub/main.conf", "w", encoding="utf-8") as f:
        f.write('@include "more.conf"\n')
    with open(f"{directory}/sub/more.conf", "w", encoding="utf-8") as f:
        f.write('ack_prefix = "included ";\n')
    done = run_ackd("-T", "-c", f"{directory}/sub/main.conf", cwd="/")
    assert done.returncode == 0 and '"included "' in done.stdout


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "\ufeff"])
def test_empty_file_yields_the_defaults(config_file, text):
    path = config_file(text)
    done = check(path)
    assert (done.returncode, done.stderr) == (0, "")
    empty = run_ackd("-T", "-c", path)
    assert empty.stdout == run_ackd("-T", "-c", config_file("port = 10080;", "other")).stdout


def test_many_long_mistakes_are_reported(config_file):
    """Each mistake is reported, in a line of bounded length."""
    text = "".join(f'unknown_{i} = "{"x" * 1000}";\n' for i in range(500))
    lines = errors_of(config_file(text))
    assert len(lines) == 500
    assert max(map(len, lines)) < 1000


# ---- the daemon itself ----


def test_daemon_does_not_start_with_a_mistake(config_file):
    path = config_file("port = 70000;")
    done = run_ackd("-c", path)
    assert done.returncode == 78
    assert f"{path}:1: port: " in done.stderr


def test_check_neither_resolves_nor_binds(config_file):
    done = check(config_file('address = "no-such-host.invalid"; port = 1;'))
    assert done.returncode == 0, done
    done = check(config_file('path = "/no/such/directory/s";'))
    assert done.returncode == 0, done


# ---- -T ----

ROUND_TRIPS = [
    "",
    'greeting = "quotes \\" \\\\ and \\t tabs\\n, \\x1b, кириллица, 😀";',
    'path = "/run/x"; mode = "0600";',
    "nak = false; freebind = true; keep_connections = false;",
    'allow = ["10.0.0.0/8", "2001:db8::/32"]; deny = ["10.1.0.0/16"];',
    'allow = ( "10.0.0.0/8" );',
    'limits = { idle_timeout = "1500ms"; drain_timeout = 1.5; max_line = "1MiB"; };',
    'limits = { idle_timeout = "1h"; max_memory = "1GiB"; max_connections_per_address = 7; };',
    'log = { level = "debug"; target = "stderr"; };',
    'encoding = { errors = "replace"; reply_charset = "windows-1252"; reply_errors = "ignore"; };',
    'framing = "delimited"; frame = { start = [0]; end = "\\x1c\\r"; };',
    'framing = "length"; frame = { length_bytes = 2; length_order = "little"; };',
    'ack_prefix = "${message} ${bytes} "; ack_suffix = "$$";',
    'reply = "echo"; listeners = ( { name = "a"; port = 1; },'
    ' { name = "b"; path = "/b"; reply = "discard"; encoding = { errors = "ignore"; }; },'
    ' { name = "c-d.e_f"; address = "*"; port = 2; greeting = "${listener}\\n"; } );',
]


@pytest.mark.parametrize("text", ROUND_TRIPS)
def test_dump_can_be_loaded_again(config_file, text):
    first = run_ackd("-T", "-c", config_file(text))
    assert (first.returncode, first.stderr) == (0, "")
    second = run_ackd("-T", "-c", config_file(first.stdout, "dumped.conf"))
    assert (second.returncode, second.stderr) == (0, "")
    assert second.stdout == first.stdout


def test_dump_shows_the_effective_configuration(config_file):
    done = run_ackd("-T", "-c", config_file('reply = "echo"; limits = { max_line = "1KiB"; };'))
    assert re.search(r'^\s*reply = "echo";', done.stdout, re.M)
    assert re.search(r'^\s*max_message = (1024|"1KiB");', done.stdout, re.M)
    assert re.search(r'^\s*framing = "stream";', done.stdout, re.M)


def test_dump_of_an_invalid_configuration_fails(config_file):
    done = run_ackd("-T", "-c", config_file("port = 70000;"))
    assert (done.returncode, done.stdout) == (78, "")


def test_dump_includes_the_port_option(config_file):
    done = run_ackd("-T", "-p", "4711", "-c", config_file("port = 1;"))
    assert re.search(r"^\s*port = 4711;", done.stdout, re.M)


def test_locale_does_not_matter(config_file):
    """1.5 is read as 1.5 in a locale whose decimal separator is a comma."""
    path = config_file("limits = { idle_timeout = 1.5; };")
    outputs = {
        run_ackd("-T", "-c", path, env=environment({"LC_ALL": locale})).stdout
        for locale in ("C", "C.UTF-8", "de_DE.UTF-8")
    }
    assert len(outputs) == 1
