"""The table of figures: medians, ratios to PgBouncer, and what is to be reached."""

# Published figures of PgBouncer 1.25 for what an older one cannot do: prepared statements in
# transaction mode.  They are shown as [ref] and never mixed with measured ones.
REFERENCE = {
    "syscalls/stub/prepared 10/10": 5.2,
    "syscalls/stub/prepared 40/10": 8.1,
    "instructions/stub/prepared 10/10": 6113,
    "instructions/stub/prepared 40/10": 7425,
}

# What pgweir is to reach: ("ratio" to PgBouncer in the same run | "value", at most).
TARGETS = {
    "cpu/stub/simple 50/20 one row": ("ratio", 0.82),
    "cpu/stub/simple 50/20 11 KB": ("ratio", 0.50),
    "cpu/stub/simple 50/20 116 KB": ("ratio", 0.20),
    "tail/stub/simple 2000/20 one row": ("ratio", 1.0),
    "syscalls/stub/simple 10/10": ("value", 4.1),
    "syscalls/stub/simple 40/10": ("value", 4.4),
    "syscalls/stub/prepared 10/10": ("value", 4.2),
    "syscalls/stub/prepared 40/10": ("value", 4.5),
    "instructions/stub/simple 10/10": ("value", 2600),
    "instructions/stub/prepared 10/10": ("value", 3600),
    "copy calls/stub/out, 1000-byte rows": ("value", 40),
    "memory/stub/per idle client, 5000": ("value", 1024),
    "memory/stub/5000 users in auth_file": ("value", 8e6),
    "turn/postgres/100 SCRAM logins at once": ("value", 10),
    "scrape p99/stub/simple 50/20, 1000 scrapes/s": ("value", 1.10),
    # A name goes with the request; a setting that may fail is a round trip, a send and a recv.
    "settings syscalls more/postgres/simple 10/10, application names": ("value", 0.02),
    "settings syscalls more/postgres/simple 10/10, search paths": ("value", 2.02),
    "settings syscalls more/postgres/simple 40/10, application names": ("value", 0.02),
    "settings syscalls more/postgres/simple 40/10, search paths": ("value", 2.02),
}
for cell in ("simple 10/10", "extended 10/10", "prepared 10/10", "simple 50/20"):
    TARGETS[f"state cpu ratio/stub/{cell}"] = ("value", 1.05)
    TARGETS[f"state syscalls more/stub/{cell}"] = ("value", 0.02)

UNITS = {
    "cpu": "us CPU/transaction",
    "p50": "us latency, median",
    "p99": "us latency, p99",
    "tail": "p99/p50 of latency",
    "rate": "transactions/s",
    "syscalls": "system calls/transaction",
    "instructions": "user instructions/transaction",
    "copy calls": "recv+send/MiB",
    "copy cpu": "us CPU/MiB",
    "memory": "bytes resident",
    "turn": "ms, longest loop turn",
    "scrape p99": "p99 of traffic, to that alone",
    "scrape cpu": "us CPU/scrape",
    "scrape syscalls": "system calls/scrape",
    "scrape instructions": "user instructions/scrape, or page",
    "state cpu": "us CPU/transaction, learning on or off",
    "state cpu ratio": "CPU, learning on to off",
    "state syscalls": "system calls/transaction, learning on or off",
    "state syscalls more": "of them with learning more, waits aside",
    "state instructions": "user instructions/transaction, learning on or off",
    "state instructions ratio": "user instructions, learning on to off",
    "settings syscalls": "system calls/transaction, clients' settings",
    "settings syscalls more": "of them more than equal, waits aside",
    "settings syncs": "settings given/transaction",
}


def show_number(value):
    if value is None:
        return "-"
    if abs(value) >= 10000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}"


class Report:
    """Figures by metric/server/cell and proxy."""

    def __init__(self, proxies, judged):
        self.proxies = proxies
        self.judged = judged  # whether the figures are long enough to be held against targets
        self.figures = {}
        self.details = {}
        self.notes = []

    def add(self, metric, server, cell, proxy, sample):
        if sample.values:
            self.figures.setdefault(f"{metric}/{server}/{cell}", {})[proxy] = sample

    def detail(self, key, proxy, value):
        """Something behind a figure, for the JSON only."""
        self.details.setdefault(key, {})[proxy] = value

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)
            print("note: " + text, flush=True)

    def median(self, key, proxy):
        sample = self.figures.get(key, {}).get(proxy)
        return sample.median if sample else None

    def ratio(self, key, proxy):
        value = self.median(key, proxy)
        base = self.median(key, "pgbouncer")
        return value / base if value is not None and base else None

    def verdict(self, key):
        """The target as text, with whether it was reached."""
        if not self.judged or key not in TARGETS:
            return ""
        kind, limit = TARGETS[key]
        value = self.ratio(key, "pgweir") if kind == "ratio" else self.median(key, "pgweir")
        text = f"{kind} <= {limit:g}" if limit < 1e6 else f"{kind} <= {limit / 1e6:g} MB"
        if value is None:
            return text
        return text + (" reached" if value <= limit else f" MISSED ({show_number(value)})")

    def cell_text(self, key, proxy):
        sample = self.figures[key].get(proxy)
        if sample is None:
            if proxy == "pgbouncer" and key in REFERENCE:
                return f"{show_number(REFERENCE[key])} [ref]"
            return "-"
        if len(sample.values) == 1:
            return show_number(sample.median)
        return f"{show_number(sample.median)} +-{sample.spread:.0%}"

    def ratio_text(self, key, proxy):
        ratio = self.ratio(key, proxy)
        if ratio is not None:
            return f"{ratio:.2f}"
        value = self.median(key, proxy)
        if value is not None and key in REFERENCE:
            return f"{value / REFERENCE[key]:.2f} [ref]"
        return "-"

    def rows(self, metric):
        others = [proxy for proxy in self.proxies if proxy != "pgbouncer"]
        for key in self.figures:
            if key.split("/", 1)[0] != metric:
                continue
            yield (
                [key.split("/", 1)[1]]
                + [self.cell_text(key, proxy) for proxy in self.proxies]
                + [self.ratio_text(key, proxy) for proxy in others]
                + [self.verdict(key)]
            )

    def print(self):
        others = [proxy for proxy in self.proxies if proxy != "pgbouncer"]
        head = list(self.proxies) + [f"{proxy} ratio" for proxy in others] + ["target"]
        for metric, unit in UNITS.items():
            rows = list(self.rows(metric))
            if not rows:
                continue
            rows.insert(0, [unit] + head)
            widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
            print()
            for number, row in enumerate(rows):
                cells = [row[0].ljust(widths[0])]
                cells += [text.rjust(width) for text, width in zip(row[1:-1], widths[1:-1])]
                print("  ".join(cells + [row[-1]]).rstrip())
                if number == 0:
                    print("-" * (sum(widths) + 2 * (len(widths) - 1)))
        print("\nmedian of the rounds, +- half the range; ratio: to pgbouncer in the same run;")
        print("[ref]: published for PgBouncer 1.25, not measured here")
        for note in self.notes:
            print("note: " + note)

    def as_json(self):
        figures = {}
        for key, samples in self.figures.items():
            figures[key] = {
                "unit": UNITS[key.split("/", 1)[0]],
                "values": {proxy: sample.values for proxy, sample in samples.items()},
                "medians": {proxy: sample.median for proxy, sample in samples.items()},
                "ratios": {proxy: self.ratio(key, proxy) for proxy in samples},
                "reference": REFERENCE.get(key),
                "target": TARGETS.get(key),
            }
        return {"figures": figures, "details": self.details, "notes": self.notes}
