#!/usr/bin/env python3
"""Makes a C file of the status page: embed.py status.html OUTPUT.c"""

import base64
import hashlib
import re
import sys

MARK = "<!-- the first state -->"


def quoted(name, text):
    """A constant of C, as numbers: compilers promise few characters of one literal."""
    codes = ", ".join(str(byte - 256 if byte > 127 else byte) for byte in text.encode())
    return f"const char {name}[] = {{{codes}, 0}};\n"


def hash_of(text, tag):
    found = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    if len(found) != 1:
        sys.exit(f"embed.py: one <{tag}> is expected")
    return base64.b64encode(hashlib.sha256(found[0].encode()).digest()).decode()


def main():
    with open(sys.argv[1], encoding="utf-8") as source:
        page = source.read()
    before, after = page.split(MARK)
    policy = (f"default-src 'none'; script-src 'sha256-{hash_of(page, 'script')}'; "
              f"style-src 'sha256-{hash_of(page, 'style')}'; connect-src 'self'; img-src data:; "
              "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        out.write("/* Made from status.html by embed.py. */\n"
                  "extern const char weir_http_page_before[], weir_http_page_after[], "
                  "weir_http_page_policy[];\n")
        out.write(quoted("weir_http_page_before", before))
        out.write(quoted("weir_http_page_after", after))
        out.write(quoted("weir_http_page_policy", policy))


main()
