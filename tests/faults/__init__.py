"""What can go wrong, on purpose: the rows of docs/reliability.md.

A test of a row carries `@pytest.mark.row(N)`, wherever it lives; `pytest --row N` runs those of a
row alone. What takes minutes carries `@pytest.mark.faults` too (`make faults`), what takes hours
`@pytest.mark.soak` (`make soak`).
"""
