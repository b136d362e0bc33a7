"""A private OpenLDAP server: own folder, own free ports, plain, StartTLS and ldaps."""

import base64
import contextlib
import os
import shutil
import socket
import subprocess

from . import postgres, process
from .certificates import Authority

PROGRAM = "/usr/sbin/slapd"
SUFFIX = "dc=example,dc=net"
PEOPLE = f"ou=people,{SUFFIX}"
MANAGER = f"cn=manager,{SUFFIX}"
MANAGER_SECRET = "the manager's own"
SECRET = "correct horse"

# Names that mean something in a distinguished name, a filter, or both.
STRANGE = ["Smith, John", "a+b=c", 'quo"te', "back\\slash", "#sharp", "star*", "par(en)s", "less<more>;", "o'neil",
           "J\u00f6rg", "two  blanks", "slash/ed", "at@sign"]

SCHEMA = "\n".join(f"include /etc/ldap/schema/{name}.schema" for name in ("core", "cosine", "inetorgperson"))


def is_installed():
    return os.access(PROGRAM, os.X_OK)


def escape(name):
    """A value inside a distinguished name, by RFC 4514; independent of what is tested."""
    return "".join(chr(byte) if byte < 128 and chr(byte).isalnum() else "\\%02x" % byte for byte in name.encode())


def person(name, under=PEOPLE, **attributes):
    values = {"objectClass": "inetOrgPerson", "sn": "x", "cn": name, "uid": name, "userPassword": SECRET, **attributes}
    lines = [f"dn: uid={escape(name)},{under}"]
    for key, value in values.items():
        for one in value if isinstance(value, list) else [value]:
            lines.append(f"{key}:: {base64.b64encode(one.encode()).decode()}")
    return "\n".join(lines) + "\n\n"


def entries():
    text = f"dn: {SUFFIX}\nobjectClass: dcObject\nobjectClass: organization\no: example\ndc: example\n\n"
    for unit in ("people", "contractors"):
        text += f"dn: ou={unit},{SUFFIX}\nobjectClass: organizationalUnit\nou: {unit}\n\n"
    text += person("alice", mail="alice@example.net")
    text += person("bob", mail=["bob@example.net", "shared@example.net"])
    text += person("carol", mail="shared@example.net")
    text += person("mallory", under=f"ou=contractors,{SUFFIX}")
    for name in STRANGE:
        text += person(name)
    return text


class Slapd:
    """Everybody's password is SECRET. restart() and stop() keep the data."""

    def __init__(self):
        self.identity = postgres.identity()
        self.folder = process.folder("slapd")
        self.port = process.free_port()
        self.secure_port = process.free_port()
        self.log = os.path.join(self.folder, "log")
        self.authority = Authority("directory")
        self.authority.issue("localhost", "slapd")
        # Where a profile of AppArmor confines the program by its path, a copy may read this folder.
        self.program = os.path.join(self.folder, "slapd")
        shutil.copy(PROGRAM, self.program)
        self.child = None
        self.fill()
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        process.drop_folder(self.folder)

    def configuration(self):
        path = self.authority.path
        return "\n".join([
            SCHEMA, "modulepath /usr/lib/ldap", "moduleload back_mdb", f"pidfile {self.folder}/pid",
            f"argsfile {self.folder}/args",
            f"TLSCACertificateFile {self.authority.certificate}", f"TLSCertificateFile {path('slapd.crt')}",
            f"TLSCertificateKeyFile {path('slapd.key')}",
            "allow bind_anon_dn",  # as some servers do: then an empty password succeeds
            "database mdb", f"suffix \"{SUFFIX}\"", f"directory {self.folder}/data", "maxsize 10485760",
            f"rootdn \"{MANAGER}\"", f"rootpw \"{MANAGER_SECRET}\"",
            "access to attrs=userPassword by anonymous auth by * none", "access to * by * read", ""])

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def fill(self):
        os.mkdir(os.path.join(self.folder, "data"))
        config = self.write("slapd.conf", self.configuration())
        data = self.write("data.ldif", entries())
        os.chmod(self.folder, 0o755)
        for path in (self.folder, os.path.join(self.folder, "data")):
            if self.identity:
                os.chown(path, self.identity["user"], self.identity["group"])
        # The name by which the program is called says what it does.
        add = os.path.join(self.folder, "slapadd")
        os.symlink(self.program, add)
        done = subprocess.run([add, "-q", "-f", config, "-l", data], capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, cwd=self.folder, **self.identity)
        assert done.returncode == 0, done.stderr

    def start(self):
        addresses = f"ldap://127.0.0.1:{self.port}/ ldaps://127.0.0.1:{self.secure_port}/"
        with open(self.log, "ab") as log:
            self.child = process.spawn([self.program, "-f", os.path.join(self.folder, "slapd.conf"), "-h", addresses,
                                        "-d", "0"], stdout=log, stderr=log, cwd=self.folder, **self.identity)
        process.wait_until(self.listens, "slapd listens", 20)

    def listens(self):
        if self.child.poll() is not None:
            with open(self.log, encoding="utf-8", errors="replace") as log:
                raise RuntimeError(f"slapd ended with {self.child.returncode}:\n{log.read()[-2000:]}")
        for port in (self.port, self.secure_port):
            with contextlib.closing(socket.socket()) as probe:
                if probe.connect_ex(("127.0.0.1", port)) != 0:
                    return False
        return True

    def stop(self):
        if self.child is not None:
            process.end(self.child)
            self.child = None

    def variables(self):
        """For programs with libldap: whom they trust, and no waiting for the system's own files."""
        return {"LDAPTLS_CACERT": self.authority.certificate, "LDAPTLS_REQCERT": "demand",
                "LDAPCONF": "/dev/null"}
