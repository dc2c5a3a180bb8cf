"""Reads the metrics of ackd."""

import http.client
import re

from harness import SOON, run_ackd

SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:\w+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def is_built(config_file):
    """Returns whether this ackd has metrics."""
    done = run_ackd("-t", "-c", config_file("metrics = { port = 0; };"))
    assert done.returncode in (0, 78), done
    return done.returncode == 0


def request(address, path="/metrics", method="GET", timeout=SOON):
    """Sends one HTTP request; returns (status, headers, body)."""
    connection = http.client.HTTPConnection(*address.sockaddr, timeout=timeout)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read().decode()
    finally:
        connection.close()


def parse(text):
    """Returns the samples: {("name", "value of label", ...): number}, labels ordered by name."""
    samples = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, labels, value = SAMPLE.fullmatch(line).groups()
        key = (name, *(value for _, value in sorted(LABEL.findall(labels or ""))))
        assert key not in samples, f"twice: {line}"
        samples[key] = float(value)
    return samples


def scrape(address):
    status, headers, body = request(address)
    assert status == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parse(body)
