import pytest

from gateway.replay.heard import PROMPT_CHARACTERS_MAX, Heard, named_in


@pytest.mark.parametrize(
    ("prompt", "numbers"),
    [
        ("What is 3 + 4.5?", [3, 4.5]),
        ("It is -2 outside. Or 12.", [-2, 12]),
        ("f(3), gpt-4o and v1.2.3", [3]),
        ("2-3", [2, 3]),
        ("1234567890123456789", []),
        ("nothing", []),
    ],
)
def test_numbers_are_heard_in_order(prompt: str, numbers: list[float]) -> None:
    heard = Heard(prompt)
    assert list(iter(lambda: heard.number(lambda _: True), None)) == numbers


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("'Paris' or \"Lima\" or “Oslo”?", ["Paris", "Lima", "Oslo"]),
        ("named '你好啊集团' (Hello Group)", ["你好啊集团"]),
        ("what's its favourite, isn't it", []),
        ("'" + "x" * 201 + "'", []),
    ],
)
def test_quoted_texts_are_heard_in_order(prompt: str, texts: list[str]) -> None:
    assert list(Heard(prompt).texts()) == texts


def test_each_is_given_out_once_and_only_where_it_fits() -> None:
    heard = Heard("1 2 3 'a' 'bb'")
    assert heard.number(lambda number: number > 1) == 2
    assert [heard.number(lambda _: True) for _ in range(3)] == [1, 3, None]
    assert [heard.text(lambda text: len(text) > 1), heard.text(lambda text: len(text) > 1)] == ["bb", None]


def test_tools_are_named_by_whole_words() -> None:
    names = ["search", "get_time", "tide-at"]
    assert named_in("Research it, then use `get_time` and tide-at.", names) == ["get_time", "tide-at"]


def test_of_a_long_prompt_the_beginning_is_heard() -> None:
    assert Heard(" " * PROMPT_CHARACTERS_MAX + "5").number(lambda _: True) is None
