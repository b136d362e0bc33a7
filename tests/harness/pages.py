"""Reading the HTTP side of the daemon: pages, and metrics as numbers."""

import http.client
import json
import re

LINE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)')
ESCAPED = re.compile(r"\\(.)")


def fetch(port, path="/", method="GET", host="127.0.0.1", **headers):
    """(status, headers, body as it came)."""
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value
                                                  for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def get(port, path="/", method="GET", host="127.0.0.1", **headers):
    """(status, headers, body as text)."""
    code, found, body = fetch(port, path, method, host, **headers)
    return code, found, body.decode()


def status(port):
    code, _, body = get(port, "/status.json")
    assert code == 200, (code, body)
    return json.loads(body)


def labels_of(text):
    labels, at = {}, 0
    while at < len(text or ""):
        match = LABEL.match(text, at)
        assert match, f"labels that nobody can read: {text}"
        labels[match.group(1)] = ESCAPED.sub(lambda found: {"n": "\n"}.get(found.group(1), found.group(1)),
                                             match.group(2))
        at = match.end()
    return labels


class Metrics:
    """What a page of metrics says; every line of it must be well formed."""

    def __init__(self, text):
        self.text = text
        self.samples = {}
        self.types = {}
        self.helps = {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                assert name not in self.types, f"{name} is declared twice"
                self.types[name] = kind
            elif line.startswith("# HELP "):
                _, _, name, words = line.split(" ", 3)
                self.helps[name] = words
            elif not line.startswith("#"):
                match = LINE.match(line)
                assert match, f"not a sample: {line!r}"
                key = (match.group(1), tuple(sorted(labels_of(match.group(2)).items())))
                assert key not in self.samples, f"twice: {line}"
                self.samples[key] = float(match.group(3))

    def value(self, name, **labels):
        return self.samples[(name, tuple(sorted(labels.items())))]

    def of(self, name):
        """[(labels, value)] of every sample of this name."""
        return [(dict(labels), value) for (found, labels), value in self.samples.items()
                if found == name]

    def names(self):
        return {name for name, _ in self.samples}

    def check_histograms(self):
        """Buckets grow, and the last one is the count. Returns how many there were."""
        series = {}
        for (name, labels), value in self.samples.items():
            if name.endswith("_bucket"):
                rest = dict(labels)
                bound = float(rest.pop("le"))
                series.setdefault((name[:-7], tuple(sorted(rest.items()))), []).append((bound, value))
        for (name, labels), buckets in series.items():
            buckets.sort()
            values = [value for _, value in buckets]
            assert values == sorted(values), (name, labels, buckets)
            assert buckets[-1] == (float("inf"), self.samples[(name + "_count", labels)]), name
            assert (name + "_sum", labels) in self.samples, name
        return len(series)


def metrics(port, **headers):
    code, _, body = get(port, "/metrics", **headers)
    assert code == 200, (code, body)
    return Metrics(body)
