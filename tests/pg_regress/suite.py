"""Where the suite comes from, and what its server needs beside it."""

import glob
import os
import re
import shutil
import subprocess
import tempfile

from harness import postgres, process

HERE = os.path.dirname(os.path.abspath(__file__))

# What single tests build on, as parallel_schedule orders it.
FIRST = ["test_setup", "create_function_c", "create_misc", "create_operator", "create_procedure",
         "create_table", "create_type", "create_schema", "copy", "create_index",
         "create_aggregate", "create_view"]


def installed_version():
    """Debian's version of the server that the tests use, such as 15.18-0+deb12u1."""
    major = postgres.bindir().split("/")[-2]
    return subprocess.run(["dpkg-query", "-W", "-f=${Version}", f"postgresql-{major}"], check=True,
                          capture_output=True, text=True).stdout


def run(command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          stdin=subprocess.DEVNULL, check=False, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout[-2000:]}")
    return done.stdout


def apt_configuration(folder):
    """The machine's own package sources, asked for sources, with lists in a folder of its own."""
    parts = os.path.join(folder, "parts")
    os.makedirs(parts)
    os.makedirs(os.path.join(folder, "lists", "partial"))
    for path in glob.glob("/etc/apt/sources.list.d/debian*.sources"):
        with open(path, encoding="utf-8") as file:
            text = file.read().replace("Types: deb\n", "Types: deb-src\n")
        with open(os.path.join(parts, os.path.basename(path)), "w", encoding="utf-8") as file:
            file.write(text)
    lines = []
    if os.path.exists("/etc/apt/sources.list"):
        with open("/etc/apt/sources.list", encoding="utf-8") as file:
            lines = [line.replace("deb ", "deb-src ", 1) for line in file if line.startswith("deb ")]
    with open(os.path.join(folder, "sources.list"), "w", encoding="utf-8") as file:
        file.writelines(lines)
    path = os.path.join(folder, "apt.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'Dir::Etc::sourcelist "{folder}/sources.list";\n'
                   f'Dir::Etc::sourceparts "{parts}";\nDir::State::lists "{folder}/lists";\n'
                   'APT::Sandbox::User "root";\n')
    return path


def unpacked(folder, version):
    """The tree of this version, or None."""
    tree = os.path.join(folder, "postgresql-" + version.partition("-")[0])
    return tree if os.path.isdir(os.path.join(tree, "src", "test", "regress")) else None


def download(folder, package, versions, environment):
    """The newest of these versions that can be had."""
    for version in versions:
        try:
            run(["apt-get", "source", "--download-only", f"{package}={version}"], env=environment,
                cwd=folder)
        except RuntimeError as problem:
            print(f"{package} {version}: {str(problem)[-300:]}", flush=True)
            continue
        number = version.partition("-")[0]
        run(["tar", "xf", glob.glob(os.path.join(folder, f"*_{number}.orig.tar.*"))[0]], cwd=folder)
        return unpacked(folder, version)
    raise RuntimeError(f"no source of {package} can be had")


def fetch(version, cache):
    """The unpacked source package; downloaded unless it is in the cache already. A mirror may lack the
    source of the very version that is installed: then the newest before it; see use_programs."""
    folder = cache or process.folder("source")
    os.makedirs(folder, exist_ok=True)
    package = "postgresql-" + version.partition(".")[0]
    if unpacked(folder, version):
        return unpacked(folder, version)
    work = tempfile.mkdtemp(dir=folder)
    environment = dict(os.environ, APT_CONFIG=apt_configuration(work))
    print(f"fetching the source of {package} {version}", flush=True)
    run(["apt-get", "update"], env=environment)
    found = re.findall(r"^Version: (\S+)", run(["apt-cache", "showsrc", package], env=environment), re.M)
    found = sorted(set(found), key=lambda text: [int(part) for part in re.findall(r"\d+", text)])
    older = [text for text in reversed(found) if text != version and unpacked(folder, text)]
    tree = unpacked(folder, older[0]) if older else download(
        folder, package, [version] + [text for text in reversed(found) if text != version],
        environment)
    shutil.rmtree(work)
    return tree


def use_programs(tree):
    """psql's own ways are part of the expected files, and the library of functions in C needs the
    headers of its server: all programs are those of the suite's version, unpacked from their packages
    beside the sources, whatever is installed."""
    number = tree.rpartition("-")[2]
    major = number.partition(".")[0]
    root = os.path.join(os.path.dirname(tree), f"programs-{number}")
    if not os.path.isdir(root):
        folder = tempfile.mkdtemp(dir=os.path.dirname(tree))
        packages = [f"postgresql-{major}", f"postgresql-client-{major}",
                    f"postgresql-server-dev-{major}"]
        offered = run(["apt-cache", "madison", packages[0]])
        wanted = re.search(rf"\| *({re.escape(number)}-\S+)", offered).group(1)
        run(["apt-get", "download", *(f"{name}={wanted}" for name in packages)], cwd=folder)
        for path in glob.glob(os.path.join(folder, "*.deb")):
            run(["dpkg", "-x", path, root])
        shutil.rmtree(folder)
    os.environ["PGWEIR_POSTGRES_BIN"] = f"{root}/usr/lib/postgresql/{major}/bin"


def packaged(path):
    """A path below the folder where the packages of the programs lie; {} is the major version."""
    root, _, rest = postgres.bindir().rpartition("/usr/lib/postgresql/")
    return root + path.format(rest.partition("/")[0])


def tools(room):
    """The folder with pg_regress or pg_isolation_regress."""
    return packaged("/usr/lib/postgresql/{}/lib/pgxs/src/test/" + room)


def isolation_tools(tree, output):
    """The folder with pg_isolation_regress and a tester that finds its sessions by name: it asks whether
    a session waits by the process id of its connection, which through a pooler is no server's."""
    folder = os.path.join(output, "tools")
    os.makedirs(folder, exist_ok=True)
    shutil.copytree(os.path.join(tree, "src/test/isolation"), os.path.join(folder, "source"), dirs_exist_ok=True)
    run(["patch", "-p4", "-d", os.path.join(folder, "source"), "-i", os.path.join(HERE, "isolationtester.patch")])
    libraries = packaged("/usr/lib/postgresql/{}/lib")
    run(["cc", "-O1", "-w", "-o", os.path.join(folder, "isolationtester"),
         "-I", packaged("/usr/include/postgresql/{}/server"), "-I", "/usr/include/postgresql", "-I", "/usr/include/postgresql/internal",
         *(os.path.join(folder, "source", name) for name in ("isolationtester.c", "specparse.c")),
         "-lpq", *(os.path.join(libraries, f"lib{name}.a") for name in ("pgfeutils", "pgcommon", "pgport"))])
    shutil.copy(os.path.join(tools("isolation"), "pg_isolation_regress"), folder)
    return folder


def prepare(tree, output):
    """The library with which the suite tests functions in C, and a place for results."""
    os.makedirs(output, exist_ok=True)
    run(["cc", "-O1", "-fPIC", "-shared", "-w", "-I", packaged("/usr/include/postgresql/{}/server"),
         "-I", packaged("/usr/include/postgresql"),
         os.path.join(tree, "src/test/regress/regress.c"), "-o", os.path.join(output, "regress.so")])
    # The test of triggers loads these from the same folder.
    for name in ("autoinc.so", "refint.so"):
        shutil.copy(packaged("/usr/lib/postgresql/{}/lib/" + name), output)
    for name in ("sql", "expected", "results", "testtablespace", "output_iso"):
        os.makedirs(os.path.join(output, name), exist_ok=True)


def hand_over(output):
    """To the user that runs server and suite."""
    who = postgres.identity()
    if not who:
        return
    os.chmod(output, 0o755)
    for folder, _, files in os.walk(output):
        for path in [folder] + [os.path.join(folder, name) for name in files]:
            os.chown(path, who["user"], who["group"])


def with_needed(tests, isolation):
    if isolation:
        return tests
    return [name for name in FIRST if name not in tests] + tests
