#!/usr/bin/env python3
"""The programs are linked so that a mistake in memory is hard to use: what configure chose is in them."""

import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import ntrvsta  # noqa: E402
import tap  # noqa: E402

PROGRAMS = (ntrvsta.FCGI, ntrvsta.TOOL)


def chosen(variable):
    """What configure set, as the Makefile has it."""
    makefile = ntrvsta.read_file(os.path.join(ntrvsta.BUILDDIR, "Makefile")).decode()
    return re.search(rf"^{variable} = (.*)$", makefile, re.M).group(1).split()


def readelf(program, *flags):
    return subprocess.run(["readelf", "-W", *flags, program], capture_output=True, text=True, check=True).stdout


@unittest.skipUnless(chosen("HARDEN_CFLAGS"), "configured without")
class Hardening(unittest.TestCase):
    def each(self):
        for program in PROGRAMS:
            with self.subTest(os.path.basename(program)):
                yield program

    def test_position(self):
        """they are loaded at a place that can't be foreseen"""
        for program in self.each():
            self.assertRegex(readelf(program, "-h"), r"Type: +DYN")
            self.assertRegex(readelf(program, "-d"), r"FLAGS_1\) .*\bPIE\b")

    def test_read_only(self):
        """tables of addresses are read-only once they are filled, which is at the start"""
        for program in self.each():
            self.assertIn("GNU_RELRO", readelf(program, "-l"))
            self.assertRegex(readelf(program, "-d"), r"BIND_NOW|\bNOW\b")

    def test_stack(self):
        """the stack holds no code, and is guarded"""
        for program in self.each():
            self.assertRegex(readelf(program, "-l"), r"GNU_STACK( +0x[0-9a-f]+){5} RW ")
            self.assertIn("__stack_chk_fail", readelf(program, "--dyn-syms"))

    def test_no_writable_code(self):
        """no segment can be written and executed"""
        for program in self.each():
            self.assertNotRegex(readelf(program, "-l"), r"LOAD .* RWE ")

    def test_fortify(self):
        """functions of the C library check the sizes that the compiler knows"""
        if "-D_FORTIFY_SOURCE=3" not in chosen("HARDEN_CFLAGS"):
            self.skipTest("CFLAGS asks for no optimisation")
        for program in self.each():
            self.assertRegex(readelf(program, "--dyn-syms"), r"__\w+_chk\b")


if __name__ == "__main__":
    tap.main()
