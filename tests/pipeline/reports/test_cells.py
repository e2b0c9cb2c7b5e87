from pipeline.reports.cells import Column, formatted, href, short, table_of, whole, words


def test_a_cell_says_shows_and_sorts() -> None:
    columns = [
        words("name", lambda row: row["name"], wrap=True),
        Column("share", lambda row: row["share"], formatted(".1%")),
        words("file", lambda row: "file", link=lambda row: row["file"]),
    ]
    rows = [
        {"name": "a & b", "share": 0.25, "file": "networks/a b#1.npz"},
        {"name": None, "share": float("nan"), "file": None},
    ]
    table = table_of(columns, rows, lambda row: row["share"] == 0.25)
    first, second = table["rows"]
    assert (first["chosen"], second["chosen"]) == (True, False)
    assert first["cells"][1] == {"sort": "0.25", "text": "25.0%", "href": ""}
    assert first["cells"][2]["href"] == "networks/a%20b%231.npz"
    # What there is not sorts last and is a dash; no link without a file.
    assert second["cells"][0] == second["cells"][1] == {"sort": "", "text": "–", "href": ""}
    assert second["cells"][2]["href"] == ""
    assert [column["text"] for column in table["columns"]] == [True, False, True]


def test_a_table_knows_on_which_screens_it_is_too_wide() -> None:
    def over(count: int) -> list[str]:
        columns = [Column(f"column {k}", lambda row: 1.0, short) for k in range(count)]
        return list(table_of(columns, [{}])["over"])

    assert (over(3), over(8), over(20)) == ([], ["phone"], ["phone", "desktop"])


def test_numbers_and_paths_as_they_are_written() -> None:
    assert (whole(1234.0), short(0.123456), href("a/ü.npz")) == ("1,234", "0.1235", "a/%C3%BC.npz")
