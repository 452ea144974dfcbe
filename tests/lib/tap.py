"""unittest with TAP output (https://testanything.org), for automake's test driver and for people.

A test file ends with `tap.main()`. Each test method is one test point, described by the first
line of its docstring; each subTest() is a point of its own. By hand:

    python3 tests/http/test_cgi.py [-k PATTERN]

`srcdir` and `builddir` come from the environment; lib/ntrvsta.py has the defaults.
"""

import argparse
import fnmatch
import signal
import sys
import unittest

TEST_SECONDS = 300  # no single test may take longer: one that hangs fails


class TooLong(Exception):
    """The time of a test is up."""


class TapResult(unittest.TestResult):
    def __init__(self, out):
        super().__init__()
        self.out = out
        self.points = 0
        self.bad = 0
        self.rows = 0

    def point(self, ok, text, comment=""):
        self.points += 1
        self.bad += not ok
        text = text.replace("#", "").replace("\n", " ")
        print(f"{'ok' if ok else 'not ok'} {self.points} - {text}{comment}", file=self.out, flush=True)

    def diagnose(self, test, err):
        for line in self._exc_info_to_string(err, test).splitlines():
            # What a test prints of the program may hold any character.
            print("# " + line.encode("ascii", "backslashreplace").decode(), file=self.out, flush=True)

    def startTest(self, test):
        super().startTest(test)
        self.rows = 0
        signal.alarm(TEST_SECONDS)

    def stopTest(self, test):
        signal.alarm(0)
        super().stopTest(test)

    def addSuccess(self, test):
        if not self.rows:
            self.point(True, describe(test))

    def addSubTest(self, test, subtest, err):
        self.rows += 1
        values = list(subtest.params.values())
        if subtest._message is not unittest.case._subtest_msg_sentinel:
            values.insert(0, subtest._message)
        self.point(err is None, describe(test) + ": " + ", ".join(str(v) for v in values))
        if err is not None:
            self.diagnose(test, err)

    def addError(self, test, err):
        self.point(False, describe(test))
        self.diagnose(test, err)

    addFailure = addError

    def addSkip(self, test, reason):
        self.rows += 1
        self.point(True, describe(test), f" # SKIP {reason}")

    def addExpectedFailure(self, test, err):
        self.point(False, describe(test), " # TODO")

    def addUnexpectedSuccess(self, test):
        self.point(False, describe(test) + ": did not fail")


def describe(test):
    test = getattr(test, "test_case", test)
    return test.shortDescription() or str(test)


def flatten(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flatten(item)
        else:
            yield item


def matches(test, pattern):
    pattern = pattern if "*" in pattern else f"*{pattern}*"
    return fnmatch.fnmatchcase(test.id(), pattern) or fnmatch.fnmatchcase(describe(test), pattern)


def raise_too_long(_number, _frame):
    raise TooLong(f"more than {TEST_SECONDS} s")


def raise_exit(number, _frame):
    raise SystemExit(128 + number)  # so that tests clean up behind themselves


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-k", metavar="PATTERN", help="only tests whose name or description has this in it")
    parser.add_argument("-l", action="store_true", help="list the tests")
    options = parser.parse_args()

    sys.stdout.reconfigure(errors="backslashreplace")
    # Ignored where a shell started us in the background; what we start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    if options.k:
        suite = unittest.TestSuite(t for t in flatten(suite) if matches(t, options.k))
    if options.l:
        for test in flatten(suite):
            print(f"{test.id()}: {describe(test)}")
        return
    signal.signal(signal.SIGALRM, raise_too_long)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, raise_exit)

    result = TapResult(sys.stdout)
    suite.run(result)
    print(f"1..{result.points}", flush=True)
    sys.exit(1 if result.bad or not result.points else 0)
