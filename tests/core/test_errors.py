from __future__ import annotations

from edgegen.core import errors
from edgegen.core.errors import INTERRUPTED_EXIT_CODE, EdgegenError, ParityError, nearest


def test_each_kind_of_error_has_an_exit_code_of_its_own() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, EdgegenError) and kind is not ParityError
    ]
    codes = [kind.exit_code for kind in kinds]
    assert sorted(codes) == list(range(1, 12))
    assert INTERRUPTED_EXIT_CODE not in codes


def test_the_nearest_word_comes_first_and_all_follow() -> None:
    assert nearest("onx", ["onnx", "coreml"]) == "Did you mean 'onnx'? Known: coreml, onnx."


def test_nothing_is_guessed_where_nothing_is_near() -> None:
    assert nearest("zzz", ["onnx", "coreml"]) == "Known: coreml, onnx."
