#!/usr/bin/env python3
"""The comparison must notice: `python3 tests/oracle/test_compare.py`. It never reads another folder than its own."""
import unittest

import pyarrow as pa

import compare


def found(a, b, keys=("k",)):
    return compare.differences(compare.plain(pa.table(a)), compare.plain(pa.table(b)), list(keys))


class Notices(unittest.TestCase):
    def test_equal_tables_in_another_order_and_width(self):
        a = {"k": pa.array([1, 2], pa.int32()), "x": [1.0, None], "s": ["a", "b"]}
        b = {"s": pa.array(["b", "a"], pa.large_string()), "x": [None, 1.0 + 1e-9], "k": pa.array([2, 1], pa.int64())}
        self.assertEqual(found(a, b), [])

    def test_a_float_beyond_the_tolerance(self):
        self.assertEqual(len(found({"k": [1], "x": [1.0]}, {"k": [1], "x": [1.000002]})), 1)
        self.assertEqual(len(found({"k": [1], "x": [0.0]}, {"k": [1], "x": [2e-9]})), 1)

    def test_a_null_is_not_a_value(self):
        for other in (0.0, float("nan")):
            self.assertEqual(len(found({"k": [1, 2], "x": [None, 1.0]}, {"k": [1, 2], "x": [other, 1.0]})), 1)

    def test_an_integer_off_by_one(self):
        self.assertEqual(len(found({"k": [1], "x": [10**12]}, {"k": [1], "x": [10**12 + 1]})), 1)

    def test_a_missing_row_a_double_row_and_a_missing_column(self):
        whole = {"k": [1, 2], "x": [1, 2]}
        self.assertEqual(len(found(whole, {"k": [1], "x": [1]})), 1)
        self.assertEqual(len(found(whole, {"k": [1, 2, 2], "x": [1, 2, 2]})), 1)
        self.assertEqual(len(found(whole, {"k": [1, 2]})), 1)

    def test_texts_and_types(self):
        self.assertEqual(len(found({"k": [1], "x": ["000"]}, {"k": [1], "x": ["0"]})), 1)
        self.assertEqual(len(found({"k": [1], "x": ["1"]}, {"k": [1], "x": [1]})), 1)
        self.assertEqual(len(found({"k": [1], "x": [True]}, {"k": [1], "x": [False]})), 1)


if __name__ == "__main__":
    unittest.main()
