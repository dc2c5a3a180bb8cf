#!/usr/bin/python3
"""Checks that code, ackd.conf(5), conf/ackd.conf and completions agree on the settings and their defaults.

Usage: check_settings.py CONFIG_PROBE SOURCE_DIR

CONFIG_PROBE prints the table of settings of the loader, and the configuration that it reads from a file.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

PROBE, SOURCE = sys.argv[1:3]
# The note in the manual for settings that a build may lack; these have the flag "unbuilt".
UNBUILT = {name + ".": f"A setting of the group\n.Ic {name}\nis an error where\n.Nm ackd\n"
                       f"was built without {what}."
           for name, what in (("metrics", "metrics"), ("tls", "TLS"))}


def read(*path):
    with open(os.path.join(SOURCE, *path), encoding="utf-8") as file:
        return file.read()


def probe(*arguments):
    wrapper = shlex.split(os.environ.get("MESON_EXE_WRAPPER", ""))  # an emulator, when cross-built
    return subprocess.run([*wrapper, PROBE, *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=False, timeout=60)


def load(text):
    """Returns the effective configuration printed by the loader."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "ackd.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        result = probe(path)
    if result.returncode != 0:
        raise AssertionError(result.stderr)
    return result.stdout


class Setting:
    def __init__(self, line):
        self.scope, self.name, self.type, default, words, flags = line.split("\t")
        self.words = words.split(",") if words else []
        self.flags = flags.split(",") if flags else []
        is_string = self.type in ("string", "word") or not re.fullmatch(
            r"\d+|true|false|none|\[\]", default)
        self.default = f'"{default}"' if is_string and default != "none" else default


SETTINGS = [Setting(line) for line in probe("--settings").stdout.splitlines()]


def unescape(roff):
    """Returns the text of a line of the manual page."""
    for escape, character in ((r"\(dq", '"'), (r"\&", ""), (r"\ ", " "), (r"\e", "\\")):
        roff = roff.replace(escape, character)
    return roff


class ManualPage(unittest.TestCase):
    page = read("man", "ackd.conf.5")
    # "name" -> its paragraph; items of a nested list are not settings
    entries = dict(re.findall(r"^\.It Ic (\S+)\n(.*?)(?=^\.It Ic |^\.Sh )", page,
                              re.MULTILINE | re.DOTALL))

    def test_names(self):
        self.assertEqual(sorted(self.entries),
                         sorted([setting.name for setting in SETTINGS] + ["listeners"]))

    def test_defaults(self):
        for setting in SETTINGS:
            with self.subTest(setting.name):
                found = re.findall(r"^Default:\n\.(?:Ql|Em) (.*?)(?: [.:,])?$",
                                   self.entries[setting.name], re.MULTILINE)
                self.assertEqual([unescape(text) for text in found], [setting.default])

    def test_table(self):
        """The table has every setting, with its default and its type as the entry names it."""
        rows = re.findall(r"^\.It Ic (\S+) Ta (\w+) Ta (\S+|\\\(dqGot.*?) Ta .+$",
                          self.page, re.MULTILINE)
        self.assertEqual(sorted((name, unescape(default)) for name, _, default in rows),
                         sorted((setting.name, setting.default) for setting in SETTINGS))
        for name, kind, _ in rows:
            with self.subTest(name):
                self.assertRegex(self.entries[name], rf"^(An? )?(?i:{kind})\b")

    def test_words(self):
        for setting in SETTINGS:
            for word in setting.words:
                with self.subTest(setting=setting.name, word=word):
                    self.assertIn(rf"\(dq{word}\(dq", self.entries[setting.name])

    def test_flags(self):
        for setting in SETTINGS:
            with self.subTest(setting.name):
                if not setting.name.startswith(tuple(UNBUILT)):
                    self.assertNotIn("unbuilt", setting.flags)
                self.assertEqual("needs a restart" in self.entries[setting.name],
                                 "restart" in setting.flags)

    def test_unbuilt(self):
        """The first entry of an optional group states when its settings are an error."""
        for group, text in UNBUILT.items():
            with self.subTest(group):
                first = next(name for name in self.entries if name.startswith(group))
                self.assertEqual([name for name in self.entries if text in self.entries[name]], [first])

    def test_examples(self):
        examples = re.findall(r'^\.\\" example: (\S+)\n\.Bd [^\n]*\n(.*?)^\.Ed$', self.page,
                              re.MULTILINE | re.DOTALL)
        self.assertGreaterEqual(len(examples), 3)
        for name, text in examples:
            with self.subTest(name):
                if "credential:" not in text:  # the service manager would have to pass the files
                    self.assertNotEqual(load(unescape(text)), load(""))

    def test_example_of_a_message(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "ackd.conf")
            with open(path, "w", encoding="utf-8") as file:
                file.write("\n\nport = 70000;\n")
            message = probe(path).stderr.replace(path, "/etc/ackd.conf")
        self.assertIn(f"\n{message}.Ed\n", self.page)


class ExampleFile(unittest.TestCase):
    text = read("conf", "ackd.conf")

    def test_changes_nothing(self):
        self.assertEqual(load(self.text), load(""))

    def test_shows_the_defaults(self):
        settings = re.sub(r"^#(?=\S|\t)", "", self.text, flags=re.MULTILINE)
        self.assertNotEqual(settings, self.text)
        self.assertEqual(load(settings), load(""))

    def test_shows_every_setting(self):
        for setting in SETTINGS:
            with self.subTest(setting.name):
                group, _, name = setting.name.rpartition(".")
                pattern = rf"^#\s*{name} = (.*?);"
                if group:
                    pattern = rf"^#\s*{group} = {{\n(?:#.*\n)*?" + pattern
                match = re.search(pattern, self.text, re.MULTILINE)
                self.assertIsNotNone(match)
                if setting.default != "none":
                    self.assertEqual(match.group(1), setting.default)

    def test_names_every_word(self):
        for setting in SETTINGS:
            for word in setting.words:
                with self.subTest(setting=setting.name, word=word):
                    self.assertIn(f'"{word}"', self.text)


class Completions(unittest.TestCase):
    def test_set_has_every_setting(self):
        for path in "bash/ackd", "zsh/_ackd", "fish/ackd.fish":
            with self.subTest(path):
                text = read("packaging", "completions", path)
                block = re.search(r"\bsettings\b\W+((?:[a-z_. \t\\]|\n(?!\n))+)", text)[1]
                self.assertEqual(re.findall(r"[a-z_.]+", block), [setting.name for setting in SETTINGS])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
