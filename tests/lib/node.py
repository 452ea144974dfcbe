"""Node for tests: the packages of tests/js/package-lock.json, and test files of JavaScript as points of a Python test.

    node.modules()                          skips with a word where there is no node, npm or registry
    node.run(self, "tests/js/client.test.js", {"NTRVSTA_URL": url})
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import unittest

import ntrvsta

FOLDER = os.path.join(ntrvsta.SRCDIR, "tests", "js")
FETCH_SECONDS = 200
POINT = re.compile(r"(not ok|ok) \d+ - (.*?)(?: # (SKIP|TODO)\b ?(.*))?$")


def modules():
    """The folder node_modules: $NTRVSTA_NODE_MODULES, or fetched once for all suites of this build."""
    if not shutil.which("node"):
        raise unittest.SkipTest("node is not installed")
    given = os.environ.get("NTRVSTA_NODE_MODULES")
    if given:
        return os.path.abspath(given)
    if not shutil.which("npm"):
        raise unittest.SkipTest("npm is not installed, and $NTRVSTA_NODE_MODULES is not set")
    cache = os.path.join(ntrvsta.BUILDDIR, "tests", "npm")
    os.makedirs(cache, exist_ok=True)
    with open(os.path.join(cache, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        version = hashlib.sha256(ntrvsta.read_file(os.path.join(FOLDER, "package-lock.json"))).hexdigest()[:16]
        folder = os.path.join(cache, version)
        if not os.path.isdir(folder):
            _fetch(folder)
    return os.path.join(folder, "node_modules")


def _fetch(folder):
    """Into FOLDER, which is there only once it is whole."""
    new = folder + ".new"
    shutil.rmtree(new, ignore_errors=True)
    os.mkdir(new)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(os.path.join(FOLDER, name), os.path.join(new, name))
    try:
        done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"],
                              cwd=new, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=FETCH_SECONDS)
    except subprocess.TimeoutExpired:
        raise unittest.SkipTest(f"npm found no registry within {FETCH_SECONDS} s")
    if done.returncode:
        raise unittest.SkipTest("npm can't fetch the packages: " + done.stderr.strip()[-100:].replace("\n", " "))
    os.rename(new, folder)


def environment(more=None):
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "NODE_PATH": modules(), **(more or {})}


def points(text):
    """(passed, name, why skipped or None, what else was said) of each top-level test in TAP from node's test runner."""
    found = []
    for line in text.splitlines():
        point = POINT.match(line)
        if point:
            ok, name, directive, why = point.groups()
            found.append((ok == "ok" and directive != "TODO", name, (why or directive) if directive == "SKIP" else None, []))
        elif found and line.startswith("  "):
            found[-1][3].append(line)
    return found


def run(case, script, env=None, timeout=280):
    """Each test() of SCRIPT, a path in the sources, is a subtest of CASE."""
    done = subprocess.run(["node", "--test-reporter=tap", os.path.join(ntrvsta.SRCDIR, script)], env=environment(env),
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
    found = points(done.stdout)
    for passed, name, skipped, said in found:
        with case.subTest(name):
            if skipped:
                case.skipTest(skipped)
            if not passed:
                case.fail("\n".join(said))
    if not found or (done.returncode and all(passed for passed, *_ in found)):
        case.fail(f"{script} ended with {done.returncode}: {done.stdout[-2000:]} {done.stderr[-4000:]}")
