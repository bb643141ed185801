from __future__ import annotations

from edgegen.core import errors
from edgegen.core.errors import INTERRUPTED_EXIT_CODE, EdgegenError, ParityError, nearest


def test_each_class_of_error_has_an_exit_code_of_its_own_and_its_kinds_share_it() -> None:
    every = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, EdgegenError)
    ]
    classes = [kind for kind in every if EdgegenError in (kind, *kind.__bases__)]
    codes = [kind.exit_code for kind in classes]
    assert sorted(codes) == list(range(1, 12))
    assert INTERRUPTED_EXIT_CODE not in codes
    for kind in set(every) - set(classes):
        assert "exit_code" not in vars(kind)
    assert ParityError.exit_code == errors.ExportError.exit_code


def test_the_nearest_word_comes_first_and_all_follow() -> None:
    assert nearest("onx", ["onnx", "coreml"]) == "Did you mean 'onnx'? Known: coreml, onnx."


def test_nothing_is_guessed_where_nothing_is_near() -> None:
    assert nearest("zzz", ["onnx", "coreml"]) == "Known: coreml, onnx."
