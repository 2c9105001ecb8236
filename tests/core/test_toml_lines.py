from gateway.core.toml_lines import line_of, lines_of

TEXT = '''\
a = 1

# A comment.
[listen]
host = "x"
port.number = 2

[[upstreams]]
name = "one"
models = [
  "m",
  "n",
]
headers = { x-a = "1", x-b = "2" }

[upstreams.timeouts]
idle_s = 5

[[upstreams]]
name = """
[not.a.table]
"""
[upstreams."odd key"]
z = 1
'''


def test_every_key_has_the_line_on_which_it_stands() -> None:
    lines = lines_of(TEXT)
    assert lines == {
        ("a",): 1,
        ("listen",): 4,
        ("listen", "host"): 5,
        ("listen", "port"): 6,
        ("listen", "port", "number"): 6,
        ("upstreams", 0): 8,
        ("upstreams", 0, "name"): 9,
        ("upstreams", 0, "models"): 10,
        ("upstreams", 0, "models", 0): 10,
        ("upstreams", 0, "models", 1): 10,
        ("upstreams", 0, "headers"): 14,
        ("upstreams", 0, "headers", "x-a"): 14,
        ("upstreams", 0, "headers", "x-b"): 14,
        ("upstreams", 0, "timeouts"): 16,
        ("upstreams", 0, "timeouts", "idle_s"): 17,
        ("upstreams", 1): 19,
        ("upstreams", 1, "name"): 20,
        ("upstreams", 1, "odd key"): 23,
        ("upstreams", 1, "odd key", "z"): 24,
    }


def test_what_is_not_written_has_the_line_of_what_is_around_it() -> None:
    lines = lines_of(TEXT)
    assert line_of(("upstreams", 0, "timeouts", "total_s"), lines) == 16
    assert line_of(("upstreams", 0, "provider"), lines) == 8
    assert line_of(("nowhere",), lines) is None
