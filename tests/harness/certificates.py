"""A private authority and what it has signed, made by openssl in a folder of the test's own."""

import os
import ssl
import subprocess

from . import postgres, process


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

    def issue(self, common_name, file, names="DNS:localhost,IP:127.0.0.1", rsa=False):
        """FILE.crt and FILE.key, which belong to the user that the daemon runs as."""
        key = ["rsa:2048"] if rsa else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        self.openssl("req", "-new", "-newkey", *key, "-nodes", "-subj", f"/CN={common_name}",
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
