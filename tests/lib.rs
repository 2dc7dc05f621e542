//! Whole-system tests live in `tests/`: one integration binary, its cases under `cases/`. This library holds nothing.
