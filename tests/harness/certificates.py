"""A private authority and what it has signed, made by openssl in a folder of the test's own."""

import os
import ssl
import subprocess

from . import postgres, process


def head(der):
    """The tag and length in front of an element, and the length of what follows."""
    if der[1] < 0x80:
        return der[:2], der[1]
    size = der[1] & 0x7f
    return der[:2 + size], int.from_bytes(der[2:2 + size], "big")


def parts(der):
    """The elements that follow each other."""
    while der:
        front, length = head(der)
        yield der[:len(front) + length]
        der = der[len(front) + length:]


def element(tag, body):
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag]) + (size if len(body) < 0x80 else bytes([0x80 | len(size)]) + size) + body


class Authority:
    def __init__(self, name="authority"):
        self.folder = process.folder("certificates")
        os.chmod(self.folder, 0o755)
        self.name = name
        self.certificate = self.path("ca.crt")
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                     "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE",
                     "-keyout", self.path("ca.key"), "-out", self.certificate)

    def path(self, name):
        return os.path.join(self.folder, name)

    def openssl(self, *arguments):
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False, cwd=self.folder)
        assert done.returncode == 0, done.stderr

    def issue(self, common_name, file, names="DNS:localhost,IP:127.0.0.1", rsa=False, subject=None):
        """FILE.crt and FILE.key, which belong to the user that the daemon runs as. `subject` is the whole name
        in openssl's form, in place of the common name alone."""
        key = ["rsa:2048"] if rsa else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        self.openssl("req", "-new", "-newkey", *key, "-nodes", "-subj", subject or f"/CN={common_name}",
                     "-addext", f"subjectAltName={names}", "-keyout", self.path(file + ".key"),
                     "-out", self.path(file + ".csr"))
        self.openssl("x509", "-req", "-in", self.path(file + ".csr"), "-days", "2", "-copy_extensions", "copy",
                     "-CA", self.certificate, "-CAkey", self.path("ca.key"), "-CAcreateserial",
                     "-out", self.path(file + ".crt"))
        os.chmod(self.path(file + ".key"), 0o600)
        identity = postgres.identity()
        if identity:
            os.chown(self.path(file + ".key"), identity["user"], identity["group"])
        return self.path(file + ".crt"), self.path(file + ".key")

    def issue_with_zero_byte(self, common_name, file):
        """The same for a common name with a zero byte, which openssl does not write: signs it by hand."""
        written = common_name.replace("\0", "~")
        self.issue(written, file)
        with open(self.path(file + ".crt"), encoding="ascii") as text:
            certificate = ssl.PEM_cert_to_DER_cert(text.read())
        signed, algorithm, _ = parts(certificate[len(head(certificate)[0]):])
        assert signed.count(written.encode()) == 1
        with open(self.path("signed"), "wb") as raw:
            raw.write(signed.replace(written.encode(), common_name.encode()))
        self.openssl("dgst", "-sha256", "-sign", self.path("ca.key"), "-out", self.path("signature"), self.path("signed"))
        with open(self.path("signed"), "rb") as raw, open(self.path("signature"), "rb") as signature:
            body = raw.read() + algorithm + element(0x03, b"\0" + signature.read())
        with open(self.path(file + ".crt"), "w", encoding="ascii") as text:
            text.write(ssl.DER_cert_to_PEM_cert(element(0x30, body)))
        return self.path(file + ".crt"), self.path(file + ".key")

    def settings(self, mode="require", file="server", **more):
        """Of a daemon that shows the certificate in FILE.crt."""
        if not os.path.exists(self.path(file + ".crt")):
            self.issue("localhost", file)
        return {"client_tls_sslmode": mode, "client_tls_cert_file": self.path(file + ".crt"),
                "client_tls_key_file": self.path(file + ".key"), **more}

    def context(self, identity=None, versions=None):
        """For a client that trusts this authority only."""
        context = ssl.create_default_context(cafile=self.certificate)
        if identity:
            context.load_cert_chain(*identity)
        if versions:
            context.minimum_version, context.maximum_version = versions
        return context
